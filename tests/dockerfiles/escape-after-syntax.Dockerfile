# syntax=docker/dockerfile:1
# escape=`
FROM windows
RUN a `
 b

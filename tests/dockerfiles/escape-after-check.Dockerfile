# check=skip=all
# escape=`
# syntax=x/y:1 extra
FROM windows
RUN a `
 b

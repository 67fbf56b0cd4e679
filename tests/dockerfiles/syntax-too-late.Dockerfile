FROM debian
# syntax=docker/dockerfile:1
RUN true

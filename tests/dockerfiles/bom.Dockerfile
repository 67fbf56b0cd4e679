FROM debian AS base
RUN true

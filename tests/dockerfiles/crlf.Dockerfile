# syntax=docker/dockerfile:1
FROM debian
RUN a && \
    # note
    b

FROM a
ARG =b

FROM debian
RUN a bc
USER x

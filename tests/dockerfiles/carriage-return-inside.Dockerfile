FROM debian
RUN ab
USER app

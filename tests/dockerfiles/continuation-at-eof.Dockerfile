FROM debian
RUN one \
FROM debian
RUN one \

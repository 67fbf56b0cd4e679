FROM debian
RUN cat <<E${U:-F}
USER app

FROM debian
RUN echo it's <<EOF
USER app

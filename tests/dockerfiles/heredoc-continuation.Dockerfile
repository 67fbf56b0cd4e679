FROM debian
RUN one && \
  <<EOF cat && \
  two
x
EOF
USER app

FROM debian
RUN <<EOF
one
two
EOF
USER app

FROM debian
RUN <<EOF
one \
EOF
USER app

FROM debian
RUN <<EOF
EOF
USER app

FROM debian
RUN <<EOF
café
EOF
COPY a b

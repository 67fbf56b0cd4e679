FROM debian
RUN --mount=type=cache,target=/c --network=none <<EOF bash
make
EOF

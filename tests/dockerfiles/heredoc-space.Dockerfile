FROM debian
RUN << EOF cat
x
EOF

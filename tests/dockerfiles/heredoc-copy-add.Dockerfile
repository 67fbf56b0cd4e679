FROM debian
COPY --chmod=755 <<EOF /usr/local/bin/x
#!/bin/sh
RUN not an instruction
EOF
ADD <<EOF /y
y
EOF

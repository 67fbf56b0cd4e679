# escape=`
FROM windows
RUN <<EOF
a `
EOF
RUN b `
  c

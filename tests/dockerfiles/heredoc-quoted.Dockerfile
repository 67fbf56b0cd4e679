FROM debian
RUN <<'EOF'
echo $HOME
EOF
RUN <<"E O F" cat
x
E O F
COPY <<\EOF /a
$X
EOF

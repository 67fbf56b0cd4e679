FROM debian
RUN <<EOF
apt-get update
FROM nowhere
# not a comment of the file

EOF
USER app

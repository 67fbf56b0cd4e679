FROM debian
RUN <<$EOF
x
$EOF
USER app

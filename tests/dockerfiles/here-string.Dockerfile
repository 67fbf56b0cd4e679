FROM debian
RUN cat <<<EOF
RUN cat <<< EOF
USER app

FROM debian
RUN echo ${a[@]} <<EOF
USER app

FROM debian
RUN echo $((1<<2))
RUN ["sh", "-c", "cat <<EOF"]
CMD cat <<EOF
USER app

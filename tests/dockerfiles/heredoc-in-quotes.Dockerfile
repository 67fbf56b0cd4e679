FROM debian
RUN echo "a <<EOF b"
RUN echo 'it <<EOF'
RUN echo \<<EOF
USER app

FROM debian
RUN echo “ü” \
  && echo 😀
COPY größe.txt /größe.txt
ENV A="é b"
LABEL x=" y"

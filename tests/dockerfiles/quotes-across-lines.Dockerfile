FROM debian
RUN echo "a \
  # kept out
  b"
ENV A="x \
  y" B=z

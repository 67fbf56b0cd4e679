FROM debian
\
RUN two
RUN \
  three

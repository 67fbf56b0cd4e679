# x
RUN a
FROM b

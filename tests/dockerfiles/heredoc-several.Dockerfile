FROM debian
RUN <<ONE cat; <<TWO cat
1
ONE
2
TWO
COPY <<a.txt <<b.txt /dest/
first
a.txt
second
b.txt
USER app

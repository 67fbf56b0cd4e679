ARG V=1
FROM debian:$V AS one
RUN a
FROM one AS two.b-c_d
RUN b
FROM scratch
COPY --from=0 /a /a
COPY --from=two.b-c_d /b /b
COPY --from=alpine:3 /c /c

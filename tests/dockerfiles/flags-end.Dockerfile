FROM debian
COPY -- --from /b
RUN -- --x
COPY a --from=b

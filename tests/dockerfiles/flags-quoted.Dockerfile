FROM debian
RUN --mount="type=bind,source=a b,target=/c" --mount=type=cache,target='/d e' ls
COPY --from="x" a b
RUN --mount=type=bind,target=/a\ b ls

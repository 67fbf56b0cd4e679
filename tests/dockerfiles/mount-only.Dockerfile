FROM debian
RUN --mount=type=cache,target=/c
RUN

FROM debian
RUN --mount=target=/root/.cache,type=cache \
    --mount=type=secret,id=token,required \
    --mount=dst=/src,src=a,from=build,rw \
    --mount=type=cache,id=${ID:-x},sharing=locked,destination=$HOME/.npm \
    --mount=type=tmpfs,target=/tmp --mount=type=ssh \
    make

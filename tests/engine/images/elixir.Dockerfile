# Shaped like elixir:1.14: Erlang with everything, and a compiler.
FROM debian:bookworm-slim
ENV LANG=C.UTF-8
RUN apt-get update \
 && apt-get install -y --no-install-recommends elixir erlang-dev erlang-inets erlang-ssl erlang-parsetools erlang-tools erlang-runtime-tools gcc make libc6-dev ca-certificates \
 && rm -rf /var/lib/apt/lists/*
CMD ["iex"]

# In the place of elixir:1.14-slim: the libraries that Erlang links against; a release brings the rest.
FROM debian:bookworm-slim
ENV LANG=C.UTF-8
RUN apt-get update \
 && apt-get install -y --no-install-recommends libstdc++6 libncurses6 libssl3 libsctp1 \
 && rm -rf /var/lib/apt/lists/*

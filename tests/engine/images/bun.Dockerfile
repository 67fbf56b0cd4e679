# As oven/bun is: Debian, Bun in /usr/local/bin, an entrypoint that runs other words by bun, a user of its own.
FROM node:22-bookworm-slim AS get
WORKDIR /get
RUN npm install --no-save --ignore-scripts bun@1.4.5 @oven/bun-linux-x64-baseline@1.4.5

FROM debian:bookworm-slim
ENV BUN_RUNTIME_TRANSPILER_CACHE_PATH=0
ENV BUN_INSTALL_BIN=/usr/local/bin
COPY --from=get /get/node_modules/@oven/bun-linux-x64-baseline/bin/bun /usr/local/bin/bun
RUN mkdir -p /usr/local/bun-node-fallback-bin && ln -s /usr/local/bin/bun /usr/local/bun-node-fallback-bin/node
ENV PATH="${PATH}:/usr/local/bun-node-fallback-bin"
RUN groupadd bun --gid 1000 && useradd bun --uid 1000 --gid bun --shell /bin/sh --create-home \
 && ln -s /usr/local/bin/bun /usr/local/bin/bunx
COPY --chmod=755 <<'EOT' /usr/local/bin/docker-entrypoint.sh
#!/bin/sh
set -e
if [ "${1#-}" != "$1" ] || [ -z "$(command -v "$1")" ] || { [ -f "$1" ] && ! [ -x "$1" ]; }; then
  set -- /usr/local/bin/bun "$@"
fi
exec "$@"
EOT
WORKDIR /home/bun/app
ENTRYPOINT ["/usr/local/bin/docker-entrypoint.sh"]
CMD ["/usr/local/bin/bun"]

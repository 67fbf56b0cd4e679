# As denoland/deno is: Debian, deno in /usr/bin, its cache in a folder of the user deno, an entrypoint that runs deno.
FROM node:22-bookworm-slim AS get
WORKDIR /get
RUN npm install --no-save --ignore-scripts @deno/linux-x64-glibc@2.9.6

FROM debian:bookworm-slim
RUN useradd --uid 1993 --user-group deno && mkdir /deno-dir/ && chown deno:deno /deno-dir/
ENV DENO_DIR=/deno-dir/
ENV DENO_INSTALL_ROOT=/usr/local
COPY --from=get /get/node_modules/@deno/linux-x64-glibc/deno /usr/bin/deno
COPY --chmod=755 <<'EOT' /usr/local/bin/docker-entrypoint.sh
#!/bin/sh
set -e
case "$1" in
  bench | cache | check | compile | coverage | doc | eval | fmt | info | install | jupyter | lint | run | serve | task | test | types) exec deno "$@" ;;
esac
exec "$@"
EOT
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["eval", "console.log('Welcome to Deno!')"]

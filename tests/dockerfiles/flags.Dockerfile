FROM --platform=$BUILDPLATFORM debian AS x
COPY --link --chown=1:2 --chmod=0644 --exclude=*.md --exclude=a b c /d/
ADD --checksum=sha256:aa --keep-git-dir=true https://x/y.git /z
COPY --parents a/b /
HEALTHCHECK --interval=5s --retries=3 CMD curl x
RUN --security=insecure --network=host true

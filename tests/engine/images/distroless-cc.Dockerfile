# Shaped like gcr.io/distroless/cc: the C library and the compiler's runtime libraries, no shell, user 65532.
FROM debian:bookworm-slim AS libraries
RUN apt-get update \
 && apt-get install -y --no-install-recommends libgcc-s1 libstdc++6 libssl3 \
 && rm -rf /var/lib/apt/lists/* \
 && mkdir /out \
 && for package in libc6 libgcc-s1 libstdc++6 libssl3; do dpkg -L "$package" | grep '/lib.*\.so' | tar -chf - --no-recursion -T - | tar -xf - -C /out; done

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=libraries /out/ /

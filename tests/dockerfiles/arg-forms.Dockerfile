ARG A
ARG B=1 C D="x y"
FROM debian:${B}
ARG A
ARG E=${B:-z}

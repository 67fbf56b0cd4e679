FROM debian
HEALTHCHECK NONE
HEALTHCHECK CMD ["a", "b"]
HEALTHCHECK --timeout=1s CMD a b
healthcheck cmd x

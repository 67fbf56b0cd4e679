FROM debian
ONBUILD RUN one \
  two
onbuild copy --from=x a b
ONBUILD ARG V=1
ONBUILD ENTRYPOINT ["a"]

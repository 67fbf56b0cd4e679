FROM debian
CMD ['a', 'b']
RUN ["a", "b"
RUN ["a"] && b
ENTRYPOINT [a]
CMD ["a",]
RUN [ -f x ] || y

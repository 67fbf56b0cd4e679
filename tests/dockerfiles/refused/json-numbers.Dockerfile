FROM a
CMD [1, "b"]

  FROM debian
	RUN true
    # comment
  COPY a b

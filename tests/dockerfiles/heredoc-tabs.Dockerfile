FROM debian
RUN <<-EOF
	echo one
		EOF
RUN <<-'A' cat
	x
	A

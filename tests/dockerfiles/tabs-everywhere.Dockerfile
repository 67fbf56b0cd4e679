FROM	debian	AS	x
RUN		a	b
COPY	a		b	c

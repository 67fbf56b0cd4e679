FROM debian
ARG A=${B:-${C:-d}}
WORKDIR /${A:+/x}
COPY ${A:-a} ${A}/
ENV P=${A#*/}${A%%.*}${A//a/b}

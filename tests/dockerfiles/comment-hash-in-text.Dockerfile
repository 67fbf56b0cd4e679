FROM debian
RUN echo # no comment
ENV A=#b
#RUN off
  #RUN off
RUN a\
#b
c

FROM debian
# café
RUN echo café \
  && echo grüße
MAINTAINER José

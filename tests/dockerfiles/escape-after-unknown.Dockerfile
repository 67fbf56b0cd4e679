# author=me
# escape=`
FROM debian
RUN a \
 b

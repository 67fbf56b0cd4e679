FROM debian
RUN one \
# last words

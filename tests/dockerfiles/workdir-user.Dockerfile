FROM debian
WORKDIR /a b
WORKDIR "/c d"
USER app:group
USER ${U}

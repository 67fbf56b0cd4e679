FROM debian
LABEL one=1 "two words"=2 three="a \
  b"
LABEL legacy form of it

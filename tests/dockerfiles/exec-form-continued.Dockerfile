FROM debian
CMD [ \
  "a", \
  # note
  "b" \
]

FROM debian
RUN one && \
# at the margin
    # indented \
    two \

    # and before blank
    three
USER app

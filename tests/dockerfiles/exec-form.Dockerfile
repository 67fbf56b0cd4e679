FROM debian
RUN ["a", "b c", "\u0041\n"]
CMD [ "x" ]
ENTRYPOINT ["/e","f"]
SHELL ["/bin/bash", "-ec"]
VOLUME ["/v", "/w x"]
COPY ["a b", "/c"]
ADD --chown=1:1 ["a", "/d"]

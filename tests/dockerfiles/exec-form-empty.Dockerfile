FROM debian
CMD []
ENTRYPOINT []
RUN [ ]

FROM debian
RUN ec\
ho hi
COPY --fr\
om=x /a /b

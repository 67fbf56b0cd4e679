FROM debian
RUN one && \

    two && \
   
	
    three
USER app

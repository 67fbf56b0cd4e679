FROM debian
RUN one \  	
  two

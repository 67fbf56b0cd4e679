

   
FROM debian

	

RUN true



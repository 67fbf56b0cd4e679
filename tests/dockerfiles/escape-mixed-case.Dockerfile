#   eScApE  =  `   
FROM windows
RUN a `
 b

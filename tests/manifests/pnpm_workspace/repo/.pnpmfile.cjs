const x = require('./hooks/x')

require('fs').readFileSync('x')

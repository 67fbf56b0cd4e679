const a = require('./lib/a');
import('./data.json');
const fs = require('fs');

const path = require('path')
const fs = require('fs-extra')

const stage = process.env.STAGE || 'dev'
fs.copySync(path.resolve(__dirname, `../env/settings_${stage}.js`), path.resolve(__dirname, '../src/settings.js'))

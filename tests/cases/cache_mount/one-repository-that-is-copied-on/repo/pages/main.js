import './ferry.js'

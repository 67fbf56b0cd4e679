module.exports = { url: "http://localhost" }

console.log(process.env.COMMIT_SHA)

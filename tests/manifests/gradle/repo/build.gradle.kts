apply(from = "${rootDir}/extra.gradle")

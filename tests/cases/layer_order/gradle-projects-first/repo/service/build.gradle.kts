plugins { java; alias(libs.plugins.spring.boot) }
dependencies { implementation(project(":prices")) }

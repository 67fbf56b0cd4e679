plugins { id("org.springframework.boot") version "3.4.0" }

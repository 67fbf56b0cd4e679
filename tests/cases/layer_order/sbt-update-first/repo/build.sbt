lazy val root = (project in file(".")).settings(name := "shop", scalaVersion := "3.5.1")

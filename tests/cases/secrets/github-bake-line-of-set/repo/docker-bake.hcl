group "default" {
  targets = ["web"]
}

target "web" {
  context = "."
  tags    = ["ferry:latest"]
}

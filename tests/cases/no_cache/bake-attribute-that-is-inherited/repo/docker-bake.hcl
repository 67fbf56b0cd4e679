target "_release" {
  no-cache = true
  pull     = true
}

target "web" {
  inherits = ["_release"]
  context  = "."
  tags     = ["acme/shop:latest"]
}

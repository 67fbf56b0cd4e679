variable "TAG" {
  default = "latest"
}

group "default" {
  targets = ["web"]
}

target "web" {
  context = "."
  tags    = ["registry.acme.dev/shop/web:${TAG}"]
}

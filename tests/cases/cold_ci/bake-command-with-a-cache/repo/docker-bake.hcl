variable "TAG" {
  default = "latest"
}

group "default" {
  targets = ["web"]
}

target "web" {
  context = "."
  cache-from = ["type=registry,ref=registry.acme.dev/shop/web:buildcache"]
  cache-to   = ["type=registry,ref=registry.acme.dev/shop/web:buildcache,mode=max"]
  tags    = ["registry.acme.dev/shop/web:${TAG}"]
}

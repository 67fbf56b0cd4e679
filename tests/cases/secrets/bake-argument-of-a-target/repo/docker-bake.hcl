variable "NPM_TOKEN" {
  default = ""
}

target "web" {
  context = "."
  args = {
    NODE_ENV  = "production"
    NPM_TOKEN = "${NPM_TOKEN}"
  }
  tags = ["acme/shop:latest"]
}

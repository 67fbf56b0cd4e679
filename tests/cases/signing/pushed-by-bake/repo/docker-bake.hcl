target "default" {
  context = "."
  tags = ["ghcr.io/acme/app:latest", "ghcr.io/acme/app:1"]
}

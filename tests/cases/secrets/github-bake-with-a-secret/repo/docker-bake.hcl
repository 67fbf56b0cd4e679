group "default" {
  targets = ["web"]
}

target "web" {
  context = "."
  secret  = ["id=npm_token,env=NPM_TOKEN"]
  tags    = ["ferry:latest"]
}

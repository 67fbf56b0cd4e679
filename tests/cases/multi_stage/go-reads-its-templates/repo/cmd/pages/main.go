package main

import (
	_ "embed"
	"html/template"
	"os"
)

//go:embed banner.txt
var banner string

func main() {
	template.Must(template.ParseGlob("templates/*.html"))
	os.Open("./settings.yaml")
	println(banner, "application/json")
}

// Command rates serves postage quotes.
package main

import (
	"log"
	"net/http"
	"os"

	"example.com/parcels/rates/internal/httpapi"
)

func main() {
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	log.Printf("listening on :%s", port)
	log.Fatal(http.ListenAndServe(":"+port, httpapi.Handler()))
}

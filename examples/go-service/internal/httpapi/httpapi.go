// Package httpapi answers quotes over HTTP.
package httpapi

import (
	"encoding/json"
	"net/http"
	"strconv"

	"example.com/parcels/money"
)

// Handler serves /healthz and /quotes?grams=N.
func Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		write(w, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("/quotes", func(w http.ResponseWriter, r *http.Request) {
		grams, err := strconv.Atoi(r.URL.Query().Get("grams"))
		if err != nil || grams <= 0 {
			http.Error(w, "grams must be a positive number", http.StatusBadRequest)
			return
		}
		write(w, map[string]string{"price": Quote(grams).String()})
	})
	return mux
}

// Quote is a base price, and 120 for every started kilogram.
func Quote(grams int) money.Cents {
	return money.Cents(349 + (grams+999)/1000*120)
}

func write(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value)
}

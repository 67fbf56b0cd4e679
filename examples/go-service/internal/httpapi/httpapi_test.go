package httpapi

import "testing"

func TestEveryStartedKilogramCosts(t *testing.T) {
	if got := Quote(1001).String(); got != "5.89" {
		t.Fatalf("got %s", got)
	}
}

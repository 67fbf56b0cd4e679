// Package money prints amounts of cents.
package money

import "fmt"

// Cents is an amount of money.
type Cents int64

func (c Cents) String() string {
	return fmt.Sprintf("%d.%02d", int64(c)/100, int64(c)%100)
}

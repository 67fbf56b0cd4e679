// Package words joins words.
package words

import "strings"

// Join gives the words with a blank between them.
func Join(words ...string) string {
	return strings.Join(words, " ")
}

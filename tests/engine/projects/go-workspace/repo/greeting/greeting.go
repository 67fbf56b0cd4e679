// Package greeting greets.
package greeting

// For greets by name.
func For(name string) string {
	if name == "" {
		name = "workspace"
	}
	return "hello " + name
}

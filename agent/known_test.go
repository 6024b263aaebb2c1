package agent

import (
	"slices"
	"strings"
	"testing"
)

// The names of keys in a peer's metadata are shown to users, so any other text is dropped.
func TestNamesOfKeysAreNothingElse(t *testing.T) {
	const one = "0123abcd"
	for text, want := range map[string][]string{
		one: {one}, one + ",ffffffff": {one, "ffffffff"}, "": nil, "0123ABCD": nil, one + ",": nil, "\x1b[2J1234": nil,
		strings.Repeat(one+",", 8) + one: nil, one + " ": nil, one + "\n": nil,
	} {
		if got := readKeys([]byte(text)); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

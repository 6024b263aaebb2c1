package agent

import (
	"slices"
	"strings"
	"testing"
)

// What a peer tells of its keys is shown to people: it is names of keys or nothing.
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

package lockservice

import (
	"maps"
	"testing"
)

func TestANameStandsForWhoHadItFirst(t *testing.T) {
	for _, c := range []struct {
		what   string
		before map[string]string
		up     []Claim
		want   map[string]string
	}{
		{"the eldest, when all are new", nil, []Claim{{"1", "a"}, {"2", "a"}, {"3", "b"}}, map[string]string{"a": "1", "b": "3"}},
		{"the first, though it is younger", map[string]string{"a": "2"}, []Claim{{"1", "a"}, {"2", "a"}, {"3", "a"}}, map[string]string{"a": "2"}},
		{"the next, when the first is down", map[string]string{"a": "1"}, []Claim{{"2", "a"}, {"3", "a"}}, map[string]string{"a": "2"}},
		{"nobody, when all are down", map[string]string{"a": "1"}, nil, map[string]string{}},
	} {
		if got := Claimed(c.before, c.up); !maps.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
}

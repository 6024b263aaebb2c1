package queue

import (
	"slices"
	"time"
)

// Bars reports whether a voter must not certify the lease of an item under a token
// (Q4): another claim has said that it is done or dead, or failed and is not due again,
// though the claimer may not have heard of it.
func (x *Index) Bars(now time.Time, id string, token uint64) bool {
	e := x.entries[id]
	return e != nil && e.closed(now) && e.token != token
}

// Acknowledged reports whether a majority of the voters is among those who have what
// self wrote, itself among them. A peer of which nothing is said of voters decides alone.
func Acknowledged(voters []string, self string, by []string) bool {
	n := 0
	for _, v := range voters {
		if v == self || slices.Contains(by, v) {
			n++
		}
	}
	return len(voters) == 0 || n > len(voters)/2
}

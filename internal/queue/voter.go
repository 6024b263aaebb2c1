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

// Recovered reports whether a voter that has started knows again what it has
// acknowledged in earlier lives, of which it remembers nothing; until then it must bar
// every item. It has when it has heard all from so many of the other voters that one of
// them was in the majority which knew, whichever that was: as a replica recovers in
// Viewstamped Replication. Who starts for the first time has acknowledged nothing, and
// hears from anybody what there is.
func Recovered(voters []string, self string, heard []string, first bool) bool {
	if len(voters) < 2 || first && len(heard) > 0 {
		return true
	}
	n := 0
	for _, v := range voters {
		if v != self && slices.Contains(heard, v) {
			n++
		}
	}
	return n >= (len(voters)+1)/2
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

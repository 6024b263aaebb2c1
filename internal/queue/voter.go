package queue

import (
	"slices"
	"time"
)

// Bars reports whether a voter must not certify the lease of an item under a token (Q4), because
// another claim has said that the item is done or dead, or failed and not due again. The
// peer that claims may not have heard of that.
func (x *Index) Bars(now time.Time, id string, token uint64) bool {
	e := x.entries[id]
	return e != nil && e.closed(now) && e.token != token
}

// Recovered reports whether a voter that has started knows again every verdict that it had
// acknowledged before. Until then it must bar every item. It knows them once it has synced
// with half of all voters, rounded up, beside itself: every majority that had acknowledged a
// verdict contains one of them. A replica recovers in the same way in Viewstamped Replication. A voter that starts for the
// first time has acknowledged nothing, and a sync with any peer is enough.
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

// Acknowledged reports whether a majority of the voters has a write of self: self, if it is a voter,
// and those in by. Without any voters self decides alone.
func Acknowledged(voters []string, self string, by []string) bool {
	n := 0
	for _, v := range voters {
		if v == self || slices.Contains(by, v) {
			n++
		}
	}
	return len(voters) == 0 || n > len(voters)/2
}

package queue

import (
	"slices"
	"time"
)

// rivalry is how long a peer that claimed something counts as one that claims.
const rivalry = 2 * time.Second

// ready holds the entries that may be claimed now, divided into this peer's share and
// the rest while other peers claim too, so that they do not race for the same items.
type ready struct {
	self string
	own  pile
	rest pile
	// doubted holds what a peer that is up claimed for longer than it said: its worker
	// extends the claim, or is gone. It is tried when there is nothing else.
	doubted pile
	part    int // of parts is this peer's share
	parts   int
	rivals  map[string]time.Time // other peers that claim: when they last did
}

func (r *ready) len() int { return len(r.own.list) + len(r.rest.list) + len(r.doubted.list) }

// first returns what this peer is to claim first, nil if there is nothing. Each peer
// begins, within a priority, with its own share.
func (r *ready) first() *entry {
	switch own, rest := r.own.list, r.rest.list; {
	case len(own) > 0 && (len(rest) == 0 || own[0].head.Priority >= rest[0].head.Priority):
		return own[0]
	case len(rest) > 0:
		return rest[0]
	case len(r.doubted.list) > 0:
		return r.doubted.list[0]
	}
	return nil
}

// best returns the first n pending entries in the order of claims, as if nobody else claimed. It
// costs the square of n, whatever else there is.
func (r *ready) best(n int) (list []*entry) {
	type spot struct {
		*pile
		at int
	}
	var open []spot // the children of what is in the list
	enter := func(p *pile, at int) {
		if at < len(p.list) {
			open = append(open, spot{p, at})
		}
	}
	enter(&r.own, 0)
	enter(&r.rest, 0)
	for len(open) > 0 && len(list) < n {
		next := 0
		for i, s := range open {
			if ahead(s.list[s.at], open[next].list[open[next].at]) {
				next = i
			}
		}
		s := open[next]
		open = slices.Delete(open, next, next+1)
		list = append(list, s.list[s.at])
		enter(s.pile, 2*s.at+1)
		enter(s.pile, 2*s.at+2)
	}
	return list
}

// divide deals the entries anew when those who claim have changed.
func (r *ready) divide(now time.Time) {
	part, parts := r.share(now)
	if part == r.part && parts == r.parts {
		return
	}
	r.part, r.parts = part, parts
	all := append(r.own.list, r.rest.list...)
	r.own.list, r.rest.list = nil, nil
	for _, e := range all {
		r.add(e)
	}
}

// add takes an entry in that is on no pile.
func (r *ready) add(e *entry) {
	if r.parts < 2 || shareOf(e.id, r.parts) == r.part {
		r.own.add(e)
	} else {
		r.rest.add(e)
	}
}

// share returns which part of how many is this peer's.
func (r *ready) share(now time.Time) (part, parts int) {
	names := []string{r.self}
	for name, at := range r.rivals { // sorted below
		if now.Sub(at) < rivalry {
			names = append(names, name)
		} else {
			delete(r.rivals, name)
		}
	}
	slices.Sort(names)
	return slices.Index(names, r.self), len(names)
}

func shareOf(id string, parts int) int {
	h := uint32(2166136261) // FNV-1a
	for i := range len(id) {
		h = (h ^ uint32(id[i])) * 16777619
	}
	return int(h>>8) % parts
}

package queue

import (
	"slices"
	"time"
)

// rivalry is how long a peer that claimed something counts as one that claims.
const rivalry = 2 * time.Second

// first returns what this peer is to claim first, nil if there is nothing. While other
// peers claim too, each begins, within a priority, with its own share, so that they do
// not race for the same items.
func (x *Index) first() *entry {
	switch own, rest := x.ready.list, x.rest.list; {
	case len(own) > 0 && (len(rest) == 0 || own[0].head.Priority >= rest[0].head.Priority):
		return own[0]
	case len(rest) > 0:
		return rest[0]
	}
	return nil
}

// divide deals what is ready into this peer's share and the rest, when those who claim
// have changed.
func (x *Index) divide(now time.Time) {
	share, of := x.share(now)
	if share == x.part && of == x.parts {
		return
	}
	x.part, x.parts = share, of
	all := append(x.ready.list, x.rest.list...)
	x.ready.list, x.rest.list = nil, nil
	for _, e := range all {
		x.pileOf(e).add(e)
	}
}

// undivide makes all that is ready this peer's, until it divides again.
func (x *Index) undivide() {
	x.part, x.parts = 0, 1
	for _, e := range x.rest.list {
		x.ready.add(e)
	}
	x.rest.list = nil
}

// pileOf returns where an entry that is ready waits.
func (x *Index) pileOf(e *entry) *pile {
	if x.parts < 2 || shareOf(e.id, x.parts) == x.part {
		return &x.ready
	}
	return &x.rest
}

// share returns which part of how many is this peer's.
func (x *Index) share(now time.Time) (share, of int) {
	names := []string{x.cfg.Self}
	for name, at := range x.rivals { // sorted below
		if now.Sub(at) < rivalry {
			names = append(names, name)
		} else {
			delete(x.rivals, name)
		}
	}
	slices.Sort(names)
	return slices.Index(names, x.cfg.Self), len(names)
}

func shareOf(id string, of int) int {
	h := uint32(2166136261) // FNV-1a
	for i := range len(id) {
		h = (h ^ uint32(id[i])) * 16777619
	}
	return int(h>>8) % of
}

package queue

import (
	"slices"
	"sort"
	"time"
)

// rivalry is how long a peer counts as a rival after its last claim.
const rivalry = 2 * time.Second

// ready holds the entries that may be claimed now. While there are rivals they are divided into
// this peer's share and the rest, so that peers seldom race for the same items.
type ready struct {
	self string
	own  pile
	rest pile
	// doubted holds items whose claim has outlived its first TTL at a peer that is up: its
	// worker has extended the claim, which is not written, or is gone. They are tried last.
	doubted pile
	part    int                  // index of this peer's share, 0 to parts-1
	parts   int                  // number of peers that claim
	rivals  map[string]time.Time // by peer: when it claimed last
}

func (r *ready) len() int { return len(r.own.list) + len(r.rest.list) + len(r.doubted.list) }

// first returns the entry that this peer is to claim next, nil if there is none: that of the highest
// priority, and of equal ones that of its own share.
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

// best returns the first n pending entries in the order in which they would be claimed without
// rivals. It walks the heaps from their heads and takes nothing out of them, so its time grows
// with n, and not with the number of entries.
func (r *ready) best(n int) (list []*entry) {
	type spot struct {
		*pile
		at int
	}
	var open []spot // in order: heap positions that are not in the list and whose parents are
	enter := func(p *pile, at int) {
		if at >= len(p.list) {
			return
		}
		i := sort.Search(len(open), func(i int) bool { return p.less(p.list[at], open[i].list[open[i].at]) })
		open = slices.Insert(open, i, spot{p, at})
	}
	enter(&r.own, 0)
	enter(&r.rest, 0)
	for len(open) > 0 && len(list) < n {
		s := open[0]
		open = open[1:]
		list = append(list, s.list[s.at])
		enter(s.pile, 2*s.at+1)
		enter(s.pile, 2*s.at+2)
	}
	return list
}

// divide divides the entries anew when the set of peers that claim has changed.
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

// add adds an entry that is in no pile.
func (r *ready) add(e *entry) {
	if r.parts < 2 || shareOf(e.id, r.parts) == r.part {
		r.own.add(e)
	} else {
		r.rest.add(e)
	}
}

// share returns the index of this peer's share and the number of shares: one for each peer that
// claims, in the order of their names.
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

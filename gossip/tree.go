package gossip

import (
	"cmp"
	"slices"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// targetsOf returns the peers that get origin's writes from this peer. In a cluster of up to
// Config.Direct other peers the origin sends to all. In a larger one the members form a tree, which
// each peer computes from the origin and the view, and each peer sends to its children.
func (s *pushes) targetsOf(origin clock.Actor) []*peer {
	if t, ok := s.targets[origin]; ok {
		return t
	}
	var t []*peer
	switch {
	case len(s.living) > s.cfg.Direct:
		t = s.children(origin)
	case origin == s.cfg.Self:
		t = s.living
	}
	s.targets[origin] = t
	return t
}

// children returns this peer's children in the tree of origin. The tree is a heap: origin is the
// root, the other members follow by rising hash, and the children of the member at index i are
// those at i × fanout + 1 up to i × fanout + fanout. list has the members without the
// origin, so its indices are lower by one.
func (s *pushes) children(origin clock.Actor) []*peer {
	seed := stir(0x9e3779b97f4a7c15, origin)
	own := stir(seed, s.cfg.Self)
	at := 0 // this peer's index in the heap; the origin's is 0
	list := s.ranks[:0]
	if origin != s.cfg.Self {
		at = 1
		list = append(list, ranked{own, -1})
		for _, a := range s.actors {
			if a != origin && stir(seed, a) < own {
				at++
			}
		}
	}
	first := at * s.cfg.Fanout
	if first > len(s.actors) {
		return nil // a leaf, as most members are
	}
	for i, a := range s.actors {
		if a != origin {
			list = append(list, ranked{stir(seed, a), i})
		}
	}
	s.ranks = list
	if first >= len(list) {
		return nil
	}
	last := min(first+s.cfg.Fanout, len(list))
	nth(list, first, ranked.less)
	nth(list[first:], last-first-1, ranked.less)
	slices.SortFunc(list[first:last], func(a, b ranked) int { return cmp.Compare(a.hash, b.hash) })
	t := make([]*peer, 0, last-first)
	for _, r := range list[first:last] {
		if r.peer >= 0 {
			t = append(t, s.living[r.peer])
		}
	}
	return t
}

// ranked is a member and the hash that orders it in the tree of an origin.
type ranked struct {
	hash uint64
	peer int // its index in Members.living, -1 for this peer
}

func (r ranked) less(o ranked) bool { return r.hash < o.hash }

// nth reorders list so that list[n] is the element that it would be if list were sorted: no element
// before it is greater, and none after it is less (quickselect, Hoare 1961).
func nth[T any](list []T, n int, less func(a, b T) bool) {
	for len(list) > 1 {
		pivot := list[len(list)/2]
		i, j := 0, len(list)-1
		for i <= j {
			for less(list[i], pivot) {
				i++
			}
			for less(pivot, list[j]) {
				j--
			}
			if i <= j {
				list[i], list[j] = list[j], list[i]
				i++
				j--
			}
		}
		switch {
		case n <= j:
			list = list[:j+1]
		case n >= i:
			list, n = list[i:], n-i
		default:
			return
		}
	}
}

// mix is a hash of two actors. It is part of the protocol, since every peer must compute the same
// tree and the same hash of the members.
func mix(a, b clock.Actor) uint64 { return stir(stir(0x9e3779b97f4a7c15, a), b) }

// stir adds an actor to a hash.
func stir(h uint64, a clock.Actor) uint64 {
	h = (h ^ a.Birth) * 0xbf58476d1ce4e5b9
	h ^= h >> 29
	h = (h ^ a.Rand) * 0xbf58476d1ce4e5b9
	return h ^ h>>29
}

// pushesTo reports whether this peer sends a's writes to p.
func (s *pushes) pushesTo(a clock.Actor, p *peer) bool {
	for _, t := range s.targetsOf(a) {
		if t == p {
			return true
		}
	}
	return false
}

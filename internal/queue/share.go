package queue

import (
	"slices"
	"sort"
	"time"
)

// rivalry is how long a peer counts as a rival after its last claim.
const rivalry = 2 * time.Second

// shards is the number of piles among which the entries that may be claimed are divided by the hashes
// of their ids. If more peers than that claim, several have the same share.
const shards = 256

// ready holds the entries that may be claimed now. While there are rivals they are divided into
// this peer's share and the rest, so that peers seldom race for the same items. A share consists of
// whole piles, so a new division costs the same however many entries there are.
type ready struct {
	self  string
	less  func(a, b *entry) bool
	piles [shards]*pile // nil until an entry needs the pile
	own   stack         // piles of this peer's share
	rest  stack         // all other piles
	// doubted holds items whose claim has outlived its first TTL at a peer that is up: its
	// worker has extended the claim, which is not written, or is gone. They are tried last.
	doubted pile
	part    int                  // index of this peer's share, 0 to parts-1
	parts   int                  // number of shares
	rivals  map[string]time.Time // by peer: when it claimed last
}

func (r *ready) len() int { return r.own.entries + r.rest.entries + len(r.doubted.list) }

// first returns the entry that this peer is to claim next, nil if there is none: that of the highest
// priority, and of equal ones that of its own share.
func (r *ready) first() *entry {
	switch own, rest := r.own.first(), r.rest.first(); {
	case own != nil && (rest == nil || own.head.Priority >= rest.head.Priority):
		return own
	case rest != nil:
		return rest
	case len(r.doubted.list) > 0:
		return r.doubted.list[0]
	}
	return nil
}

// best returns the first n pending entries in the order in which they would be claimed without
// rivals. It walks the heaps from their heads and takes nothing out of them, so its time grows
// with n, and not with the number of entries.
func (r *ready) best(n int) (list []*entry) {
	var open []*entry // in order: entries that are not in the list and whose parents are
	enter := func(e *entry) {
		i := sort.Search(len(open), func(i int) bool { return r.less(e, open[i]) })
		open = slices.Insert(open, i, e)
	}
	enterPile := func(s *stack, at int) {
		if at < len(s.piles) {
			enter(s.piles[at].list[0])
		}
	}
	enterPile(&r.own, 0)
	enterPile(&r.rest, 0)
	for len(open) > 0 && len(list) < n {
		e := open[0]
		open = open[1:]
		list = append(list, e)
		for child := 2*e.position + 1; child <= 2*e.position+2; child++ {
			if child < len(e.pile.list) {
				enter(e.pile.list[child])
			}
		}
		if e.position == 0 {
			enterPile(e.pile.stack, 2*e.pile.position+1)
			enterPile(e.pile.stack, 2*e.pile.position+2)
		}
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
	r.own, r.rest = stack{}, stack{}
	for shard, p := range r.piles {
		if p != nil {
			r.stackOf(shard).take(p)
		}
	}
}

// stackOf returns the stack of the piles among which that of a shard is.
func (r *ready) stackOf(shard int) *stack {
	if r.parts < 2 || shard%r.parts == r.part {
		return &r.own
	}
	return &r.rest
}

// add adds an entry that is in no pile.
func (r *ready) add(e *entry) {
	shard := shardOf(e.id)
	if r.piles[shard] == nil {
		r.piles[shard] = &pile{less: r.less}
		r.stackOf(shard).take(r.piles[shard])
	}
	r.piles[shard].add(e)
}

// share returns the index of this peer's share and the number of shares: one for each peer that
// claims, in the order of their names, up to the number of shards.
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
	parts = min(len(names), shards)
	return slices.Index(names, r.self) % parts, parts
}

// shardOf returns the shard of an id. Peers that run other versions compute the same.
func shardOf(id string) int {
	h := uint32(2166136261) // FNV-1a
	for i := range len(id) {
		h = (h ^ uint32(id[i])) * 16777619
	}
	return int(h>>8) % shards
}

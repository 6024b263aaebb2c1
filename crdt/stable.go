package crdt

import (
	"cmp"
	"container/heap"
	"math"
	"slices"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// Collected counts what Collect forgot.
type Collected struct{ Removals, Expired, Pasts int }

// Collectable reports whether there is anything that Collect might forget.
func (s *Store) Collectable() bool {
	return len(s.expiries) > 0 || slices.ContainsFunc(s.active, func(st *actorState) bool { return len(st.pending) > 0 })
}

// Collect forgets what no peer needs any more: removals, expired records and the
// pasts of records whose dots are at or below stable. A dot is stable when every
// peer has acknowledged it and this replica has seen everything each of them had
// seen by then. What a stable record's writer had seen may be missing here all the same:
// a removal can come by a record that overwrote another, and what that one removed be on
// its way. So a record stays until this replica has seen all that it covers, or what it
// has not seen is stable, too: nobody has it.
func (s *Store) Collect(stable clock.Vector, nowMillis uint64) Collected {
	var c Collected
	s.Expire(nowMillis) // what is forgotten was reported
	clear(s.gapped)
	for _, st := range s.active {
		upTo := min(stable[st.actor], st.span.Head())
		if upTo <= st.stable {
			continue
		}
		st.stable = upTo
		n, kept := 0, 0
		for ; n < len(st.pending) && st.pending[n].seq <= upTo; n++ {
			r := st.pending[n]
			if !r.live() {
				continue
			}
			if s.unseen(r, stable) {
				st.stable = min(st.stable, r.seq-1)
				st.pending[kept], kept = r, kept+1
				continue
			}
			delete(s.seen, r)
			switch {
			case !r.counts():
				merger{s}.detach(r)
				c.Removals++
			case !r.at(nowMillis):
				merger{s}.detach(r)
				c.Expired++
			case len(r.past()) > 0:
				s.forgetPast(r)
				c.Pasts++
			}
		}
		rest := kept + copy(st.pending[kept:], st.pending[n:])
		clear(st.pending[rest:])
		st.pending = st.pending[:rest]
	}
	s.stats.Collected += uint64(c.Removals)
	return c
}

// unseen reports whether this replica has not seen, and may still be told, something that r
// or a loser that is remembered beside it covers. All of whom something is missing are awaited:
// nobody may have anything of any of them at one moment.
func (s *Store) unseen(r *record, stable clock.Vector) (missing bool) {
	for _, list := range [][]past{r.past(), s.seen[r]} {
		for _, p := range list {
			if st := s.actors[p.actor]; st.span.Base < p.seq {
				s.gapped[st.actor] = struct{}{}
				missing = missing || stable[st.actor] < p.seq
			}
		}
	}
	return missing
}

// forgetPast takes from r what its writer had seen.
func (s *Store) forgetPast(r *record) {
	m := r.cell.many()
	if m != nil {
		m.place(r, false)
	}
	s.memory -= len(r.ext.past) * pastMemory
	r.ext.past = nil
	if m != nil {
		m.place(r, true)
	}
}

// truncate bounds the removals: if there are more than Config.MaxRemoves, or they take
// more than a quarter of Config.MaxBytes, it forgets the oldest until an eighth of that
// bound is free, although peers may not have acknowledged them. Content that a peer brings
// back because it missed such a removal is dropped once their checksums are compared.
func (s *Store) truncate() {
	most := math.MaxInt // of their memory
	if s.maxBytes > 0 {
		most = s.maxBytes / 4
	}
	if s.removes <= s.maxRemoves && s.removed <= most {
		return
	}
	var list []*record
	for _, st := range s.active {
		for _, r := range st.pending {
			if r.live() && !r.counts() {
				list = append(list, r)
			}
		}
	}
	slices.SortFunc(list, func(a, b *record) int {
		return cmp.Or(cmp.Compare(a.stamp, b.stamp), s.actors[a.actor].actor.Compare(s.actors[b.actor].actor), cmp.Compare(a.seq, b.seq))
	})
	for _, r := range list {
		if s.removes <= s.maxRemoves-s.maxRemoves/8 && s.removed <= most-most/8 {
			break
		}
		merger{s}.detach(r)
		s.stats.Truncated++
	}
}

// Expire reports keys whose expiry has passed as changes, and forgets those that
// are stable.
func (s *Store) Expire(nowMillis uint64) {
	for len(s.expiries) > 0 && s.NextExpiry() <= nowMillis {
		r := heap.Pop(&s.expiries).(*record)
		if !r.live() {
			continue
		}
		c := r.cell
		plain := c.many() == nil
		if !plain {
			c.view.Store(c.many().stale)
		}
		if r.shows() {
			visible := c.visible()
			r.ext.gone.Store(true)
			if !plain {
				c.many().content--
			}
			if visible && !c.visible() {
				s.keys.Add(-1)
			}
			ch := s.changed(r, CauseExpired, clock.After, false)
			ch.Lazy = !plain
			if plain {
				ch.Old = Value{r.val()}
			}
			s.stats.Expired++
		}
		if st := s.actors[r.actor]; r.seq <= st.stable {
			merger{s}.detach(r)
		}
	}
}

// NextExpiry returns when Expire has something to do, in Unix milliseconds.
func (s *Store) NextExpiry() uint64 {
	for len(s.expiries) > 0 && !s.expiries[0].live() {
		heap.Pop(&s.expiries)
	}
	if len(s.expiries) == 0 {
		return math.MaxUint64
	}
	return s.expiries[0].expiry()
}

// expiryHeap orders records by expiry, then by stamp and number.
type expiryHeap []*record

// push adds r. Superseded records go before the heap grows.
func (h *expiryHeap) push(r *record) {
	if n := len(*h); n == cap(*h) {
		*h = slices.DeleteFunc(*h, func(r *record) bool { return !r.live() })
		if len(*h) > n/2 {
			*h = slices.Grow(*h, n+16)
		}
		heap.Init(h)
	}
	heap.Push(h, r)
}

func (h expiryHeap) Len() int      { return len(h) }
func (h expiryHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h expiryHeap) Less(i, j int) bool {
	a, b := h[i], h[j]
	if a.ext.expiry != b.ext.expiry {
		return a.ext.expiry < b.ext.expiry
	}
	if a.stamp != b.stamp {
		return a.stamp < b.stamp
	}
	return a.seq < b.seq
}
func (h *expiryHeap) Push(x any) { *h = append(*h, x.(*record)) }
func (h *expiryHeap) Pop() any {
	old := *h
	n := len(old) - 1
	r := old[n]
	old[n] = nil
	*h = old[:n]
	return r
}

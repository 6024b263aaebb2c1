package crdt

import (
	"cmp"
	"container/heap"
	"math"
	"slices"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// Collected counts what one call of Collect forgot: removals and clears, expired records,
// and pasts of records that stay.
type Collected struct{ Removals, Expired, Pasts int }

// Collectable reports whether Collect may have something to forget or to report.
func (s *Store) Collectable() bool {
	return len(s.expiries) > 0 || len(s.spent) > 0 || slices.ContainsFunc(s.active, func(st *actorState) bool { return len(st.pending) > 0 })
}

// Collect forgets the state that no peer needs any more: removals, expired records, and the
// pasts of other records, if their dots are at or below stable. A dot is stable when every
// peer has acknowledged it and this replica has seen everything that each of them had seen
// by then. nowMillis is the time in Unix milliseconds. settled is a time that the clock of every
// peer has shown, and up to which this replica has seen everything that the peers wrote: only
// what has ended by then is forgotten.
//
// This replica may lack a dot that a stable record covers. For example, a removal arrived
// and was overwritten before it came here, and the record that it removed is still on its
// way. So Collect keeps a record until this replica has seen all dots that the record
// covers, or until the dots that it lacks are stable too, which means that no peer has them.
func (s *Store) Collect(stable clock.Vector, settled, nowMillis uint64) Collected {
	var c Collected
	s.Expire(nowMillis) // reports expired records before they are forgotten
	clear(s.missing)
	for _, st := range s.active {
		upTo := min(stable[st.actor], st.span.Head())
		if upTo <= st.collected {
			continue
		}
		st.collected = upTo
		n, kept := 0, 0
		for ; n < len(st.pending) && st.pending[n].seq <= upTo; n++ {
			r := st.pending[n]
			if !r.live() {
				continue
			}
			if s.unseen(r, stable) {
				st.collected = min(st.collected, r.seq-1)
				st.pending[kept], kept = r, kept+1
				continue
			}
			delete(s.pruned, r)
			switch {
			case r.isRemoval():
				merger{s}.detach(r)
				c.Removals++
			case len(r.past()) > 0:
				s.forgetPast(r)
				c.Pasts++
			}
		}
		rest := kept + copy(st.pending[kept:], st.pending[n:])
		clear(st.pending[rest:])
		st.pending = st.pending[:rest]
	}
	c.Expired = merger{s}.forgetSpent(settled)
	s.stats.Collected += uint64(c.Removals)
	return c
}

// unseen reports whether some peer may still send a dot that this replica lacks and that r,
// or one of r's losers in Store.pruned, covers. It adds every actor with such a dot to
// Store.missing, and does not stop at the first one, so that Awaited lists them all.
func (s *Store) unseen(r *record, stable clock.Vector) (missing bool) {
	for _, list := range [][]pastEntry{r.past(), s.pruned[r]} {
		for _, p := range list {
			if st := s.actors[p.actor]; st.span.Base < p.seq {
				s.missing[st.actor] = struct{}{}
				missing = missing || stable[st.actor] < p.seq
			}
		}
	}
	return missing
}

// forgetPast removes the past of r, which is live.
func (s *Store) forgetPast(r *record) {
	m := r.cell.many()
	if m != nil {
		m.account(r, false)
	}
	s.memory -= len(r.ext.past) * pastMemory
	r.ext.past = nil
	if m != nil {
		m.account(r, true)
	}
}

// truncate bounds the removals. If there are more than Config.MaxRemovals, or they take more
// than a quarter of Config.MaxBytes, it forgets the oldest ones until an eighth of the bound
// is free, although some peer may not have acknowledged them. A peer that missed such a
// removal may bring the removed content back; the peers drop it when they compare checksums.
func (s *Store) truncate() {
	limit := math.MaxInt // bytes that removals may take
	if s.maxBytes > 0 {
		limit = s.maxBytes / 4
	}
	if s.removals <= s.maxRemovals && s.removalBytes <= limit {
		return
	}
	var list []*record
	for _, st := range s.active {
		for _, r := range st.pending {
			if r.live() && r.isRemoval() {
				list = append(list, r)
			}
		}
	}
	slices.SortFunc(list, func(a, b *record) int {
		return cmp.Or(cmp.Compare(a.stamp, b.stamp), s.actors[a.actor].actor.Compare(s.actors[b.actor].actor), cmp.Compare(a.seq, b.seq))
	})
	for _, r := range list {
		if s.removals <= s.maxRemovals-s.maxRemovals/8 && s.removalBytes <= limit-limit/8 {
			break
		}
		merger{s}.detach(r)
		s.stats.Truncated++
	}
}

// Expire reports the records whose expiry is at or before nowMillis, in Unix milliseconds,
// as changes. Collect forgets them later.
func (s *Store) Expire(nowMillis uint64) {
	for len(s.expiries) > 0 && s.NextExpiry() <= nowMillis {
		r := heap.Pop(&s.expiries).(*record)
		if !r.live() {
			continue
		}
		c := r.cell
		plain := c.many() == nil
		switch {
		case r.kind == slotDeadline:
			merger{s}.endDeadline(c, c.many(), r)
			s.through = max(s.through, r.expiry())
			continue
		case s.governs(c.many(), r):
			continue
		}
		if !plain {
			c.view.Store(c.many().staleView)
		}
		if s.visible(c.many(), r) {
			visible := c.visible()
			r.ext.expiryReported.Store(true)
			if m := c.many(); m != nil {
				m.visibleRecords--
				m.hashes -= s.actors[r.actor].hash(r.seq)
				key := slotKey(r.kind, r.path())
				s.follow(m, key, true, s.shown(m, m.slots[key]))
			}
			if visible && !c.visible() {
				s.visibleKeys.Add(-1)
			}
			ch := s.noteChange(r, CauseExpired, clock.After, false)
			ch.Lazy = !plain
			ch.touch(r, nil)
			if plain {
				ch.Old = Value{r.val()}
			}
			s.stats.Expired++
		}
		s.through = max(s.through, r.expiry())
		s.spent = append(s.spent, r)
	}
}

// NextExpiry returns the earliest expiry of a live record in Unix milliseconds, and
// math.MaxUint64 if no live record expires.
func (s *Store) NextExpiry() uint64 {
	for len(s.expiries) > 0 && !s.expiries[0].live() {
		heap.Pop(&s.expiries)
	}
	if len(s.expiries) == 0 {
		return math.MaxUint64
	}
	return s.expiries[0].expiry()
}

// expiryHeap is a heap of records in the order of expiry, stamp and number.
type expiryHeap []*record

// push adds r. It removes records that are not live before the heap grows.
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

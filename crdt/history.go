package crdt

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync/atomic"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// history is the causal context, and for each actor the list of its live records.
type history struct {
	context   *clock.CausalContext
	additions uint64                 // number of times that dots were added to context
	actors    []*actorState          // by number; includes actors that Retire took out of the tables
	active    []*actorState          // actors in the tables, sorted by actor
	number    map[clock.Actor]uint32 // numbers of the actors in the tables
	// published is the slice actors for lock-free readers. Of an element they use only
	// actor, index and salt, which never change.
	published atomic.Pointer[[]*actorState]
	self      *actorState // the actor whose dots Apply assigns
}

// Context returns the live causal context. The caller must not change it.
func (h *history) Context() *clock.CausalContext { return h.context }

// ContextAdditions returns the number of additions to the context so far. While the number
// stays the same, the context has the same dots. So a caller learns in O(1) whether a value
// that it derived from the context is out of date.
func (h *history) ContextAdditions() uint64 { return h.additions }

// intern returns the state of a. It gives a a new number if a is not in the tables.
func (h *history) intern(a clock.Actor) *actorState {
	if i, ok := h.number[a]; ok {
		return h.actors[i]
	}
	digest := sha256.Sum256(clock.AppendActor(nil, a))
	st := &actorState{
		actor:       a,
		index:       uint32(len(h.actors)),
		salt:        binary.BigEndian.Uint64(digest[:]),
		activeState: &activeState{span: new(clock.Span)},
	}
	if _, listed := slices.BinarySearchFunc(h.context.Listed(), a, clock.Actor.Compare); listed {
		st.span, st.listed = h.context.Ensure(a), true
	} else if span := h.context.Span(a); span != nil {
		st.span = span.Clone()
	}
	h.number[a] = st.index
	h.actors = append(h.actors, st)
	at, _ := slices.BinarySearchFunc(h.active, a, func(st *actorState, a clock.Actor) int { return st.actor.Compare(a) })
	h.active = slices.Insert(h.active, at, st)
	actors := h.actors // append never changes elements within this length, which is all that readers use
	h.published.Store(&actors)
	return st
}

func (h *history) delta(r *record) Delta { return Delta{r: r, st: h.actors[r.actor], seq: r.seq} }

// Live calls f for the live records of a with first ≤ seq ≤ last, in ascending order, until
// f returns false. f must not change the store.
func (h *history) Live(a clock.Actor, first, last uint64, f func(Delta) bool) {
	i, ok := h.number[a]
	if !ok {
		return
	}
	st := h.actors[i]
	for _, r := range st.live[st.liveFrom(first):] {
		if r == nil {
			continue
		}
		if r.seq > last || !f(Delta{r: r, st: st, seq: r.seq}) {
			return
		}
	}
}

// EachLive calls f for the records that the checksums cover, in the order of their dots,
// from the dot from to the dot to inclusive, until f returns false. mask is a bit set of
// the shards to visit, nil for all. f must not change the store.
func (h *history) EachLive(from, to clock.Dot, mask *[4]uint64, f func(Delta) bool) {
	for _, st := range h.active {
		a := st.actor
		if a.Compare(from.Actor) < 0 || a.Compare(to.Actor) > 0 {
			continue
		}
		first, last := uint64(0), ^uint64(0)
		if a == from.Actor {
			first = from.Seq
		}
		if a == to.Actor {
			last = to.Seq
		}
		more := true
		h.Live(a, first, last, func(d Delta) bool {
			if h.checksummed(d.r) && (mask == nil || mask[d.r.shard/64]>>(d.r.shard%64)&1 == 1) {
				more = f(d)
			}
			return more
		})
		if !more {
			return
		}
	}
}

// Writers returns the actors that have live records, in order.
func (h *history) Writers() (list []clock.Actor) {
	for _, st := range h.active {
		if len(st.live) > 0 {
			list = append(list, st.actor)
		}
	}
	return list
}

// Last returns the number of the latest write of the store's own actor, 0 before the first.
func (h *history) Last() uint64 { return h.self.span.Head() }

// LiveAbove returns about how many live records of a have a number above seq. It is a
// measure of progress, and may be too high where records were superseded.
func (h *history) LiveAbove(a clock.Actor, seq uint64) int {
	i, ok := h.number[a]
	if !ok {
		return 0
	}
	st := h.actors[i]
	return len(st.live) - st.liveFrom(seq+1)
}

// side describes r as one side of a conflict.
func (h *history) side(r *record) Side {
	return Side{shownValue(r), clock.Dot{Actor: h.actors[r.actor].actor, Seq: r.seq}, r.stamp}
}

// wins reports whether a replaces b at a last-write-wins slot. The order is total: two
// records compare as equal only if they have the same dot.
func (h *history) wins(a, b *record) bool {
	return cmp.Or(
		cmp.Compare(a.stamp, b.stamp),
		h.actors[a.actor].actor.Compare(h.actors[b.actor].actor),
		cmp.Compare(a.seq, b.seq),
	) > 0
}

// contiguous reports whether this replica has seen every dot up to those of seen.
func (h *history) contiguous(seen []pastEntry) bool {
	return !slices.ContainsFunc(seen, func(p pastEntry) bool { return p.seq > h.actors[p.actor].span.Base })
}

// share returns the number that r adds to the checksums: a hash of its dot and its content.
func (h *history) share(r *record) uint64 {
	return fold(h.actors[r.actor].hash(r.seq), r.fingerprint())
}

// Hash returns the number that the live record of d adds to the checksums, or would add if
// they covered it. d must not be a void.
func (h *history) Hash(d Delta) uint64 { return h.share(d.r) }

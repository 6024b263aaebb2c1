package crdt

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync/atomic"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// history is what was seen of each actor, and which records of it are live.
type history struct {
	context   *clock.CausalContext
	additions uint64                 // number of additions to context
	actors    []*actorState          // by number, those too that are at rest
	active    []*actorState          // actors that are not at rest, by actor
	number    map[clock.Actor]uint32 // numbers of the active
	// published is actors for readers, who use only what never changes of each.
	published atomic.Pointer[[]*actorState]
	self      *actorState
}

// Context returns the live causal context. The caller must not change it.
func (h *history) Context() *clock.CausalContext { return h.context }

// ContextAdditions returns the number of additions to the context so far. While the number stays
// the same, the context does too, so it tells in O(1) whether something derived from the context is stale.
func (h *history) ContextAdditions() uint64 { return h.additions }

func (h *history) intern(a clock.Actor) *actorState {
	if i, ok := h.number[a]; ok {
		return h.actors[i]
	}
	digest := sha256.Sum256(clock.AppendActor(nil, a))
	st := &actorState{
		actor: a,
		index: uint32(len(h.actors)),
		salt:  binary.BigEndian.Uint64(digest[:]),
		work:  &work{span: new(clock.Span)},
	}
	if _, listed := slices.BinarySearchFunc(h.context.Listed(), a, clock.Actor.Compare); listed {
		st.span, st.known = h.context.Ensure(a), true
	} else if span := h.context.Span(a); span != nil {
		st.span = span.Clone()
	}
	h.number[a] = st.index
	h.actors = append(h.actors, st)
	at, _ := slices.BinarySearchFunc(h.active, a, func(st *actorState, a clock.Actor) int { return st.actor.Compare(a) })
	h.active = slices.Insert(h.active, at, st)
	actors := h.actors // readers keep within its length, where nothing changes any more
	h.published.Store(&actors)
	return st
}

func (h *history) delta(r *record) Delta { return Delta{r: r, st: h.actors[r.actor], seq: r.seq} }

// Live calls f for the live records of a with first ≤ seq ≤ last, ascending,
// until f returns false. f must not change the store.
func (h *history) Live(a clock.Actor, first, last uint64, f func(Delta) bool) {
	i, ok := h.number[a]
	if !ok {
		return
	}
	st := h.actors[i]
	for _, r := range st.live[st.from(first):] {
		if r == nil {
			continue
		}
		if r.seq > last || !f(Delta{r: r, st: st, seq: r.seq}) {
			return
		}
	}
}

// EachLive calls f for the records that the checksums cover, in dot order from
// from to to, both included, in the shards of mask (nil: all), until f returns
// false.
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
			if d.r.sums() && (mask == nil || mask[d.r.shard/64]>>(d.r.shard%64)&1 == 1) {
				more = f(d)
			}
			return more
		})
		if !more {
			return
		}
	}
}

// Writers returns the actors of whom there are live records, in order.
func (h *history) Writers() (list []clock.Actor) {
	for _, st := range h.active {
		if len(st.live) > 0 {
			list = append(list, st.actor)
		}
	}
	return list
}

// Last returns the number of the last write of the store's own actor.
func (h *history) Last() uint64 { return h.self.span.Head() }

// LiveAbove returns about how many live records of a have a number above seq: a
// measure of progress, not exact where records were superseded.
func (h *history) LiveAbove(a clock.Actor, seq uint64) int {
	i, ok := h.number[a]
	if !ok {
		return 0
	}
	st := h.actors[i]
	return len(st.live) - st.from(seq+1)
}

func (h *history) side(r *record) Side {
	return Side{content(r), clock.Dot{Actor: h.actors[r.actor].actor, Seq: r.seq}, r.stamp}
}

// wins reports whether a replaces b at a last-write-wins slot. The order is total:
// two records tie only when they are the same write.
func (h *history) wins(a, b *record) bool {
	return cmp.Or(
		cmp.Compare(a.stamp, b.stamp),
		h.actors[a.actor].actor.Compare(h.actors[b.actor].actor),
		cmp.Compare(a.seq, b.seq),
	) > 0
}

// contiguous reports whether every dot up to those seen was seen here.
func (h *history) contiguous(seen []past) bool {
	return !slices.ContainsFunc(seen, func(p past) bool { return p.seq > h.actors[p.actor].span.Base })
}

// share is r's part of the checksums.
func (h *history) share(r *record) uint64 {
	return fold(h.actors[r.actor].hash(r.seq), r.fingerprint())
}

// Hash returns the share of the checksums that a live record has, or would have if
// they covered it.
func (h *history) Hash(d Delta) uint64 { return h.share(d.r) }

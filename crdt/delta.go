package crdt

import "github.com/sentinel-peer/sentinel-peer/clock"

// Delta is a handle on one record: what one dot did. It stays valid when the
// record is superseded; Live then says so and only the dot is worth sending.
// Deltas belong to the store's owner.
type Delta struct {
	r    *record // nil for a void: a dot whose record another replica has superseded
	st   *actorState
	seq  uint64
	with uint64 // a void's: the end of the section that holds what superseded it
}

func (s *Store) delta(r *record) Delta { return Delta{r: r, st: s.actors[r.actor], seq: r.seq} }

// Actor returns who wrote it.
func (d Delta) Actor() clock.Actor {
	if d.st == nil {
		return clock.Actor{}
	}
	return d.st.actor
}

// Seq returns its number among its actor's writes.
func (d Delta) Seq() uint64 { return d.seq }

// Dot returns its identity.
func (d Delta) Dot() clock.Dot { return clock.Dot{Actor: d.Actor(), Seq: d.seq} }

// Key returns the key it writes, "" for a void.
func (d Delta) Key() string {
	if d.r == nil {
		return ""
	}
	return d.r.cell.key()
}

// Stamp returns its time, 0 for a void.
func (d Delta) Stamp() clock.Timestamp {
	if d.r == nil {
		return 0
	}
	return d.r.stamp
}

// Live reports whether the record is still part of the state.
func (d Delta) Live() bool { return d.r != nil && d.r.live() }

// Void reports whether a section that goes up to last need not spell d out: what
// overwrote it is in the same section.
func (d Delta) Void(last uint64) bool {
	switch {
	case d.r == nil:
		return d.with <= last
	case d.r.pos >= 0 || d.r.pos == dead:
		return false
	}
	return d.seq+uint64(-d.r.pos) <= last
}

// Size returns about how many bytes it takes in a queue or frame.
func (d Delta) Size() int {
	if d.r == nil {
		return 64
	}
	return d.r.size()
}

// Encoded returns about how many bytes it takes in a frame, at least one for each
// object. Unlike Size it changes, when what it overwrote is forgotten.
func (d Delta) Encoded() int {
	if d.r == nil {
		return 1
	}
	return d.r.size() + 8*len(d.r.past())
}

// Live calls f for the live records of a with first ≤ seq ≤ last, ascending,
// until f returns false. f must not change the store.
func (s *Store) Live(a clock.Actor, first, last uint64, f func(Delta) bool) {
	i, ok := s.number[a]
	if !ok {
		return
	}
	st := s.actors[i]
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
func (s *Store) EachLive(from, to clock.Dot, mask *[4]uint64, f func(Delta) bool) {
	for _, st := range s.active {
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
		s.Live(a, first, last, func(d Delta) bool {
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
func (s *Store) Writers() (list []clock.Actor) {
	for _, st := range s.active {
		if len(st.live) > 0 {
			list = append(list, st.actor)
		}
	}
	return list
}

// LiveBytes returns about how many bytes they take on the wire.
func (s *Store) LiveBytes() int { return s.bytes }

// Last returns the number of the last write of the store's own actor.
func (s *Store) Last() uint64 { return s.self.span.Head() }

// LiveAbove returns about how many live records of a have a number above seq: a
// measure of progress, not exact where records were superseded.
func (s *Store) LiveAbove(a clock.Actor, seq uint64) int {
	i, ok := s.number[a]
	if !ok {
		return 0
	}
	st := s.actors[i]
	return len(st.live) - st.from(seq+1)
}

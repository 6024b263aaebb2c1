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

// LiveBytes returns about how many bytes they take on the wire.
func (s *Store) LiveBytes() int { return s.bytes }

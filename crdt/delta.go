package crdt

import "github.com/sentinel-peer/sentinel-peer/clock"

// Delta is a handle on one dot and its record. A Delta stays valid when the record is
// superseded; Live then returns false. Only the store's owner may use a Delta.
type Delta struct {
	r          *record // nil for a void
	st         *actorState
	seq        uint64
	sectionEnd uint64 // of a void: the last dot of the section that carries its successor
}

// Actor returns the actor that wrote the record.
func (d Delta) Actor() clock.Actor {
	if d.st == nil {
		return clock.Actor{}
	}
	return d.st.actor
}

// Seq returns the number of the write among its actor's writes, counted from 1.
func (d Delta) Seq() uint64 { return d.seq }

// Dot returns the identity of the write.
func (d Delta) Dot() clock.Dot { return clock.Dot{Actor: d.Actor(), Seq: d.seq} }

// Key returns the key of the record, "" for a void.
func (d Delta) Key() string {
	if d.r == nil {
		return ""
	}
	return d.r.cell.key()
}

// Stamp returns the time of the write, 0 for a void.
func (d Delta) Stamp() clock.Timestamp {
	if d.r == nil {
		return 0
	}
	return d.r.stamp
}

// Live reports whether the record is still part of the state.
func (d Delta) Live() bool { return d.r != nil && d.r.live() }

// Void reports whether a section that ends with the dot last may name d as a void, because
// the same section carries the record that overwrote it.
func (d Delta) Void(last uint64) bool {
	switch {
	case d.r == nil:
		return d.sectionEnd <= last
	case d.r.pos >= 0 || d.r.pos == dead:
		return false
	}
	return d.seq+uint64(-d.r.pos) <= last
}

// Size returns about how many bytes d takes in a queue. It never changes.
func (d Delta) Size() int {
	if d.r == nil {
		return 64
	}
	return d.r.size()
}

// Encoded returns about how many bytes d takes in a frame, at least one. Unlike Size it
// becomes less when Collect forgets the record's past.
func (d Delta) Encoded() int {
	if d.r == nil {
		return 1
	}
	return d.r.size() + 8*len(d.r.past())
}

// LiveBytes returns about how many bytes all live records take on the wire.
func (s *Store) LiveBytes() int { return s.wireBytes }

package crdt

import (
	"cmp"

	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// increment adds n to this actor's part of the counter at path.
func (w *writer) increment(path string, n int64) {
	r := w.record(slotCounter, path, renderer{w.s}.increased(w.cell.many(), path, n, w.now))
	w.setPast(r, w.slotPast(slotCounter, path, true))
	w.commit(r)
}

// increased returns this actor's part of a counter, encoded, as an increment by n makes it.
// It is valid until the next call.
func (s renderer) increased(m *many, path string, n int64, nowMillis uint64) []byte {
	var up, down uint64
	if m != nil {
		for _, r := range m.slots[slotKey(slotCounter, path)] {
			if r.actor == s.self.index && r.at(nowMillis) {
				up, down = counterParts(r.val())
			}
		}
	}
	if n > 0 {
		up += uint64(n)
	} else {
		down += uint64(-n)
	}
	if over := min(up, down); max(up, down) > maxCount {
		up, down = up-over, down-over // what both are above nothing is no matter
	}
	s.scratch = appendCounter(s.scratch[:0], up, down)
	return s.scratch
}

// bump raises the max at path to v.
func (w *writer) bump(path string, v Value) {
	var slot []*record
	if m := w.cell.many(); m != nil {
		slot = m.slots[slotKey(slotMax, path)]
	}
	if v, rises := raised(slot, v, w.expiry, w.now); rises {
		w.put(slotMax, path, v.raw)
	}
}

// raised returns what a max is to be. A v that does not raise it writes nothing, unless it
// is to last longer: then the max does.
func raised(slot []*record, v Value, expiry, nowMillis uint64) (val Value, rises bool) {
	val = v
	for _, r := range alive(slot, nowMillis) {
		have := Value{r.val()}
		if !lower(have, v) && cmp.Or(r.expiry(), never) >= cmp.Or(expiry, never) {
			return val, false
		}
		if lower(val, have) {
			val = have
		}
	}
	return val, true
}

// lower reports whether a is a number below b.
func lower(a, b Value) bool {
	c, err := wire.CompareNumber(a.bytes(), b.bytes())
	return err == nil && c < 0
}

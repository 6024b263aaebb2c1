package crdt

import (
	"cmp"

	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// increment adds n to this actor's part of the counter at path. A counter's record holds
// the sum of one actor's increments and the sum of its decrements.
func (w *writer) increment(path string, n int64) {
	r := w.record(slotCounter, path, renderer{w.s}.increased(w.cell.many(), path, n, w.now))
	w.setPast(r, w.slotPast(slotCounter, path, true))
	w.commit(r)
}

// increased returns this actor's part of a counter after an increment by n, encoded. The
// result is valid until the store's scratch buffer is used again.
func (s renderer) increased(m *many, path string, n int64, nowMillis uint64) []byte {
	var up, down uint64
	if m != nil {
		for _, r := range m.slots[slotKey(slotCounter, path)] {
			if r.actor == s.self.index && s.contentAt(m, r, nowMillis) {
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
		up, down = up-over, down-over // only the difference counts, so a part stays in range
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
	if v, rises := w.s.raised(w.cell.many(), slot, v, w.expiry, w.now); rises {
		w.put(slotMax, path, v.raw)
	}
}

// raised returns the value of a max after a bump to v, and whether the bump writes anything.
// A bump with v no greater than the max writes the max again if its expiry is later, so
// that the max lasts longer; else it writes nothing.
func (h *history) raised(m *many, slot []*record, v Value, expiry, nowMillis uint64) (val Value, rises bool) {
	val = v
	for _, r := range h.alive(m, slot, nowMillis) {
		have := Value{r.val()}
		if !lower(have, v) && cmp.Or(h.expiryOf(m, r), never) >= cmp.Or(expiry, never) {
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

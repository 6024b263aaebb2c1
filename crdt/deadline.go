package crdt

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// deadlineSlot begins the slotKey of a key's deadline records. The path of such a slot is the stamp
// at which its chain began.
const deadlineSlot = "\x00\x08"

// chain is the live deadline records of one slot. Who sets a deadline before the end of an earlier one
// overwrites that in its slot, and else begins a chain of its own: what has ended stays ended.
type chain struct {
	begun uint64  // when it began, in Unix milliseconds
	until uint64  // the longest of its records, which are concurrent, in Unix milliseconds; never if one of them sets no end
	last  *record // the latest of them
	over  bool    // whether it had ended when a later chain of the key began
}

// deadline is the deadline of a key: all chains together. A chain governs the content that comes before
// the latest of its records, by stamp and dot, in place of the expiries of that content. Of several
// chains the first that is over decides, and else the longest.
type deadline struct {
	chains  []chain // in the order in which they began; never changed in place
	last    *record // the latest record of all, nil if there is none
	passed  uint64  // what has ended by then stays ended, even if the clock goes back; Unix milliseconds
	queued  *record // the record that is in Store.spent, nil if there is none
	content int     // number of records that are governed
}

// same reports whether both deadlines end the same content at the same times.
func (d *deadline) same(o deadline) bool {
	return slices.Equal(d.chains, o.chains) && d.passed == o.passed
}

// governs reports whether the deadline of m, which is the key of r or nil, takes the place of r's
// expiry.
func (h *history) governs(m *many, r *record) bool {
	return m != nil && m.deadline.last != nil && h.wins(m.deadline.last, r)
}

// expiryOf returns when r ends, in Unix milliseconds, 0 for never. m is the key of r, nil for a
// plain one.
func (h *history) expiryOf(m *many, r *record) uint64 {
	if !h.governs(m, r) {
		return r.expiry()
	}
	until := uint64(0)
	for i := range m.deadline.chains { // in the order in which they began
		c := &m.deadline.chains[i]
		if !h.wins(c.last, r) {
			continue
		}
		if c.over {
			return c.until
		}
		until = max(until, c.until)
	}
	if until == never {
		return 0
	}
	return until
}

// reported reports whether r has ended and Expire has reported it.
func (h *history) reported(m *many, r *record) bool {
	if h.governs(m, r) {
		e := h.expiryOf(m, r)
		return e != 0 && e <= m.deadline.passed
	}
	return r.expiryReported()
}

// visible reports whether r is content that readers may see. An ended record is visible until
// Expire has reported it.
func (h *history) visible(m *many, r *record) bool {
	return r.isContent() && r.kind < firstUnknown && !h.reported(m, r)
}

// contentAt reports whether r is content that has not ended at nowMillis.
func (h *history) contentAt(m *many, r *record, nowMillis uint64) bool {
	if !r.isContent() || h.reported(m, r) {
		return false
	}
	e := h.expiryOf(m, r)
	return e == 0 || e > nowMillis
}

// checksummed reports whether the checksums cover r. They do not cover removals, deadlines and
// records that end, because each peer forgets these at another time.
func (h *history) checksummed(r *record) bool {
	return r.isContent() && h.expiryOf(r.cell.many(), r) == 0
}

// restate makes change, which changes the deadline records of m, and updates the deadline and all
// counts that depend on it. It returns the records that readers saw before the change and do not
// see after it, or the other way round, in the order of their slots.
func (s merger) restate(m *many, change func()) (turned []*record) {
	type state struct{ visible, hashed, summed, governed bool }
	stateOf := func(r *record) state {
		return state{s.visible(m, r), !s.reported(m, r), s.checksummed(r), s.governs(m, r)}
	}
	keys := slices.DeleteFunc(sortedSlots(m), func(key string) bool { return isDeadline(key) })
	var was []state
	for _, key := range keys {
		for _, r := range m.slots[key] {
			was = append(was, stateOf(r))
		}
	}
	change()
	m.deadline.content = 0
	for _, key := range keys {
		slot := m.slots[key]
		before := was[:len(slot)]
		was = was[len(slot):]
		shownBefore := slices.ContainsFunc(before, func(b state) bool { return b.visible })
		for j, r := range slot {
			if !r.isContent() {
				continue
			}
			b, a := before[j], stateOf(r)
			if a.governed {
				m.deadline.content++
			} else if b.governed && r.expiry() != 0 {
				s.expiries.push(r)
			}
			m.visibleRecords += change01(b.visible, a.visible)
			m.hashes += uint64(change01(b.hashed, a.hashed)) * s.actors[r.actor].hash(r.seq)
			if n := change01(b.summed, a.summed); n != 0 {
				s.addShare(r, int64(n))
			}
			if a.visible != b.visible {
				turned = append(turned, r)
			}
		}
		s.follow(m, key, shownBefore, s.shown(m, slot))
	}
	s.queueDeadline(m)
	return turned
}

// change01 returns 1 if after is true and before is not, -1 in the opposite case, else 0.
func change01(before, after bool) int {
	switch {
	case before == after:
		return 0
	case after:
		return 1
	}
	return -1
}

// isDeadline reports whether a slotKey is that of deadline records.
func isDeadline(key string) bool { return key[:2] == deadlineSlot }

// chainPath returns the path of the slot of a chain that begins at stamp.
func chainPath(stamp clock.Timestamp) string {
	return string(wire.AppendStr(nil, fmt.Sprintf("%016x", uint64(stamp))))
}

// chainBegin returns the stamp in a path that chainPath has made; ok is false for any other path.
func chainBegin(path string) (stamp clock.Timestamp, ok bool) {
	if len(path) != 17 {
		return 0, false
	}
	n, err := strconv.ParseUint(path[1:], 16, 64)
	return clock.Timestamp(n), err == nil && chainPath(clock.Timestamp(n)) == path
}

// isChain reports whether path is that of a chain.
func isChain(path string) bool {
	_, ok := chainBegin(path)
	return ok
}

// sumUp returns the deadline that the live deadline records of m make.
func (s merger) sumUp(m *many) deadline {
	d := deadline{passed: m.deadline.passed, queued: m.deadline.queued}
	for _, key := range sortedSlots(m) {
		if !isDeadline(key) {
			continue
		}
		begun, _ := chainBegin(key[2:])
		c := chain{begun: begun.Millis()}
		for _, r := range m.slots[key] {
			if !r.tomb {
				c.until = max(c.until, cmp.Or(r.expiry(), never))
				if c.last == nil || s.wins(r, c.last) {
					c.last = r
				}
			}
		}
		if c.last == nil {
			continue
		}
		d.chains = append(d.chains, c)
		if d.last == nil || s.wins(c.last, d.last) {
			d.last = c.last
		}
	}
	for i := range d.chains {
		c := &d.chains[i]
		for _, later := range d.chains[i+1:] {
			c.over = c.over || c.until <= later.begun
		}
	}
	return d
}

// mergeDeadline merges the deadline record r. It notes a change if content ends by it, or is back.
func (s merger) mergeDeadline(m *many, r *record, old Value, visible, local bool) {
	c := r.cell
	turned := s.restate(m, func() {
		s.mergeDotted(m, r)
		m.deadline = s.sumUp(m)
	})
	s.updateView(c, visible)
	s.noteTurned(m, turned, old, local)
}

// noteTurned adds one change to the log for all of turned, if there are any. They are records of one
// key, m, that have ended by a change of its deadline, or are back.
func (s merger) noteTurned(m *many, turned []*record, old Value, local bool) {
	if len(turned) == 0 {
		return
	}
	cause := CauseExpired
	for _, r := range turned {
		if s.visible(m, r) {
			cause = CausePut
		}
	}
	ch := s.noteChange(renderer(s).latest(turned), cause, clock.After, local)
	ch.Lazy, ch.Old = true, old
	for _, r := range turned {
		ch.touch(r, ch.large)
	}
}

// endDeadline reports what ends at the deadline of r.
func (s merger) endDeadline(c *cell, m *many, r *record) {
	if r.expiry() <= m.deadline.passed {
		return
	}
	visible := c.visible()
	gone := s.restate(m, func() { m.deadline.passed = r.expiry() })
	s.updateView(c, visible)
	s.noteTurned(m, gone, Value{}, false)
	s.stats.Expired += uint64(len(gone))
}

// queueDeadline has Collect look at the deadline of m if a chain has ended or nothing is governed.
func (s merger) queueDeadline(m *many) {
	d := &m.deadline
	ended := func(c chain) bool { return c.over || c.until <= d.passed }
	if d.last != nil && d.queued != d.last && (d.content == 0 || slices.ContainsFunc(d.chains, ended)) {
		d.queued = d.last
		s.spent = append(s.spent, d.last)
	}
}

// forgetSpent forgets the records that have ended, if no peer can prolong them any more, and the
// deadlines that govern nothing. A peer could prolong a record until its clock has shown the end; by
// settled, in Unix milliseconds, every peer's clock has, and this replica has what they wrote by
// then. forgetSpent returns the number of ended records that it forgot.
func (s merger) forgetSpent(settled uint64) (n int) {
	kept := s.spent[:0]
	for _, r := range s.spent {
		m := r.cell.many()
		switch {
		case !r.live():
		case r.kind == slotDeadline:
			if m.deadline.last == r && !s.forgetDeadline(r.cell, m, settled, &n) {
				kept = append(kept, r)
			}
		case s.governs(m, r):
		case r.expiry() > settled || !s.passedBy(r):
			kept = append(kept, r)
		default:
			s.detach(r)
			n++
		}
	}
	clear(s.spent[len(kept):])
	s.spent = kept
	return n
}

// passedBy reports whether r is stable, and Collect has looked at it.
func (s merger) passedBy(r *record) bool { return r.seq <= s.actors[r.actor].collected }

// forgetDeadline forgets the content of m that has ended and the deadlines that are about nothing. It
// adds the number of records with content to n, and reports whether there is nothing more to do.
func (s merger) forgetDeadline(c *cell, m *many, settled uint64, n *int) (done bool) {
	var gone []*record
	left := 0 // records that have ended and stay for now
	stable := true
	for key, slot := range m.slots {
		stable = stable && !(isDeadline(key) && slices.ContainsFunc(slot, func(r *record) bool { return !s.passedBy(r) }))
	}
	for _, key := range sortedSlots(m) {
		for _, r := range m.slots[key] {
			switch {
			case !r.isContent() || !s.governs(m, r) || !s.reported(m, r):
			case stable && s.expiryOf(m, r) <= settled && s.passedBy(r):
				gone = append(gone, r)
			default:
				left++
			}
		}
	}
	for _, r := range gone {
		s.detach(r)
	}
	*n += len(gone)
	for _, c := range m.deadline.chains {
		if m.deadline.content > 0 && (!c.over || c.until > settled || s.about(m, c)) {
			left += change01(false, c.over)
			continue
		}
		if !stable {
			return false
		}
		begun, _ := chainBegin(c.last.path())
		for _, r := range slices.Clone(m.slots[deadlineSlot+chainPath(begun)]) {
			s.detach(r)
		}
	}
	if done = left == 0; done {
		m.deadline.queued = nil
	}
	return done
}

// about reports whether m has content that comes before the latest record of c.
func (s merger) about(m *many, c chain) bool {
	for _, slot := range m.slots { // the order does not matter
		if slices.ContainsFunc(slot, func(r *record) bool { return r.isContent() && s.wins(c.last, r) }) {
			return true
		}
	}
	return false
}

// setDeadline gives everything that readers see of the key one deadline, which is w.expiry. By the
// stamp of the write another peer decides what had ended before it, so setDeadline does so too. It
// removes what had ended at a time of its own, so that the deadline does not bring it back.
func (w *writer) setDeadline() {
	defer func(now uint64) { w.now = now }(w.now)
	w.now = max(w.now, w.stamp.Millis())
	path := chainPath(w.stamp)
	m := w.cell.many()
	if m == nil {
		if r := w.cell.view.Load(); r == nil || !w.s.contentAt(nil, r, w.now) {
			return
		}
	} else {
		if !w.removeEnded(m) {
			return
		}
		var open []chain
		for _, c := range m.deadline.chains {
			if !c.over && c.until > w.now {
				open = append(open, c)
			}
		}
		for i, c := range open {
			switch {
			case i == 0:
				path = c.last.path()
			default:
				w.tombstone(slotDeadline, c.last.path())
			}
		}
	}
	r := w.record(slotDeadline, path, nil)
	w.setPast(r, w.slotPast(slotDeadline, path, false))
	w.commit(r)
}

// removeEnded removes the content of m whose own expiry has passed. If everything has, it removes nothing and
// returns false.
func (w *writer) removeEnded(m *many) bool {
	var ended []string
	some := false
	for _, key := range sortedSlots(m) {
		for _, r := range m.slots[key] {
			switch {
			case w.s.contentAt(m, r, w.now):
				some = true
			case r.isContent() && !w.s.governs(m, r) && (len(ended) == 0 || ended[len(ended)-1] != key):
				ended = append(ended, key)
			}
		}
	}
	if !some {
		return false
	}
	expiry := w.expiry
	w.expiry = 0
	for _, key := range ended {
		w.removeEndedAt(m, m.slots[key])
	}
	w.expiry = expiry
	return true
}

// removeEndedAt removes the records of a slot that have ended, and no others. A record covers the
// earlier one of its own actor, so if this actor has a record there that has not ended, its
// successor has the same value.
func (w *writer) removeEndedAt(m *many, slot []*record) {
	var seen []pastEntry
	var own *record
	for _, r := range slot {
		switch {
		case r.isContent() && !w.s.contentAt(m, r, w.now) && !w.s.governs(m, r):
			if r.actor != w.s.self.index {
				seen = mergePast(seen, r.actor, r.seq)
			}
		case r.isContent() && r.actor == w.s.self.index:
			own = r
		default:
			continue
		}
		for _, p := range r.past() {
			if p.actor != w.s.self.index {
				seen = mergePast(seen, p.actor, p.seq)
			}
		}
	}
	var val []byte
	if own != nil {
		val = []byte(own.val())
	}
	r := w.record(slot[0].kind, slot[0].path(), val)
	r.tomb = own == nil
	w.setPast(r, seen)
	w.commit(r)
}

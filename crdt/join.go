package crdt

import (
	"strings"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// merge makes r, whose dot is new, part of the state, or finds that it is
// overwritten already. Its dot is marked as seen by the caller. r.cell is set;
// a new cell becomes known here.
func (s *Store) merge(r *record, local bool) {
	if r.kind == slotRegister && r.cell.many() == nil && (r.ext == nil || r.ext.path == "") {
		merger{s}.mergePlain(r, local)
		return
	}
	c := r.cell
	visible := c.visible()
	old := rendered(c.view.Load())
	m := merger{s}.promote(c)
	r.shard = m.shard
	if r.kind == slotClear {
		top := merger{s}.mergeClear(m, r)
		merger{s}.settle(c, visible)
		if top != nil {
			merger{s}.lazy(r, old, removal(c, visible), clock.After, local)
			s.changes[len(s.changes)-1].Kind = kindOf(top.kind, top.path())
		}
		return
	}
	for _, clear := range m.clears {
		if strings.HasPrefix(r.path(), clear.path()) && (merger{s}).clears(clear, r) {
			s.stats.Superseded++
			merger{s}.settle(c, visible)
			return
		}
	}
	ord := clock.After
	if r.kind.lww() {
		var won bool
		if ord, won = (merger{s}).mergeLeaf(m, r); !won {
			merger{s}.settle(c, visible)
			if ord == clock.Concurrent {
				merger{s}.lazy(r, old, CauseConflict, ord, local)
			}
			return
		}
	} else if !(merger{s}).mergeDotted(m, r) {
		merger{s}.settle(c, visible)
		return
	}
	merger{s}.settle(c, visible)
	cause := CausePut
	if !r.counts() {
		cause = removal(c, visible)
	}
	merger{s}.lazy(r, old, cause, ord, local)
}

// removal returns the cause to report for a removal in c: a part of it went, all
// of it, or 0 if there was nothing.
func removal(c *cell, visible bool) Cause {
	switch {
	case c.visible():
		return CausePut
	case visible:
		return CauseDelete
	}
	return 0
}

// lazy notes a change of a key that is to be rendered; old is what readers saw of
// it last, if anybody looked. The records of one batch at one key are one change.
func (s merger) lazy(r *record, old Value, cause Cause, ord clock.Order, local bool) {
	if cause == 0 || r.kind >= firstUnknown {
		return
	}
	if n := len(s.changes); n > 0 && cause != CauseConflict {
		last := &s.changes[n-1]
		if last.Stamp == r.stamp && last.Dot.Actor == s.actors[r.actor].actor && last.Key == r.cell.key() &&
			(last.Cause == CausePut || last.Cause == CauseDelete) {
			old, ord = last.Old, max(ord, last.Order)
			s.changes = s.changes[:n-1]
		}
	}
	ch := s.changed(r, cause, ord, local)
	ch.Lazy, ch.Old = true, old
}

// rendered returns the value of a cell's view, absent if there is none.
func rendered(view *record) Value {
	if view == nil || view.tomb || view.stale() {
		return Value{}
	}
	return Value{view.val()}
}

// mergePlain merges into a key that is one plain register: the fast path.
func (s merger) mergePlain(r *record, local bool) {
	c := r.cell
	cur := c.view.Load()
	if cur == nil {
		r.shard = shardOf(c.key())
		s.insert(r)
		c.view.Store(r)
		if r.tomb {
			return // a delete of what was never here
		}
		s.keys.Add(1)
		s.changed(r, CausePut, clock.After, local).New = content(r)
		return
	}
	r.shard = cur.shard
	ord := order(r, cur)
	if !s.wins(r, cur) {
		s.stats.Superseded++
		if ord == clock.Concurrent {
			s.lost(cur, r)
			ch := s.changed(r, CauseConflict, ord, local)
			ch.Old, ch.New = content(cur), content(cur)
		}
		return
	}
	s.replace(r, cur, ord)
	c.view.Store(r)
	cause := CausePut
	switch {
	case r.tomb && !cur.shows():
		return
	case r.tomb:
		s.keys.Add(-1)
		cause = CauseDelete
	case !cur.shows():
		s.keys.Add(1)
	}
	ch := s.changed(r, cause, ord, local)
	ch.Old, ch.New = content(cur), content(r)
}

// replace makes r live instead of cur, which it beat at a last-write-wins slot.
// Losers beside cur that r does not cover stay remembered beside r.
func (s merger) replace(r, cur *record, ord clock.Order) {
	var seen []past
	if len(s.seen) > 0 {
		for _, p := range s.seen[cur] {
			if !r.covers(p.actor, p.seq) {
				seen = append(seen, p)
			}
		}
	}
	s.remove(cur)
	cur.overwrittenBy(r)
	s.insert(r)
	if seen != nil {
		s.remember(r, seen)
	}
	if ord == clock.Concurrent {
		s.lost(r, cur)
	}
}

// remember keeps seen beside the live winner r until it is stable.
func (s merger) remember(r *record, seen []past) {
	if _, ok := s.seen[r]; !ok && len(r.past()) == 0 && r.counts() && r.expiry() == 0 {
		s.actors[r.actor].await(r)
	}
	s.seen[r] = seen
}

// lost journals a concurrent loser, and remembers it beside the winner so that
// the next local write covers it.
func (s merger) lost(winner, loser *record) {
	s.stats.Conflicts++
	rule := "later stamp"
	if winner.stamp == loser.stamp {
		rule = "equal stamps, greater actor"
	}
	s.noteConflict(rule, s.side(winner), loser)
	list := mergePast(s.seen[winner], loser.actor, loser.seq)
	for _, p := range loser.past() {
		list = mergePast(list, p.actor, p.seq)
	}
	s.remember(winner, list)
}

// mergeLeaf merges into a last-write-wins slot inside m.
func (s merger) mergeLeaf(m *many, r *record) (ord clock.Order, won bool) {
	key := slotKey(r.kind, r.path())
	slot := m.slots[key]
	if len(slot) == 0 {
		s.insert(r)
		m.slots[key] = []*record{r}
		return clock.After, true
	}
	cur := slot[0]
	ord = order(r, cur)
	won = s.wins(r, cur)
	if !won {
		s.stats.Superseded++
		if ord == clock.Concurrent {
			s.lost(cur, r)
		}
		return ord, false
	}
	s.replace(r, cur, ord)
	slot[0] = r
	return ord, true
}

// mergeDotted merges into a slot that keeps all records no other covers.
func (s merger) mergeDotted(m *many, r *record) bool {
	key := slotKey(r.kind, r.path())
	slot := m.slots[key]
	for _, other := range slot {
		if other.covers(r.actor, r.seq) {
			s.stats.Superseded++
			return false
		}
	}
	kept := slot[:0]
	for _, other := range slot {
		if r.covers(other.actor, other.seq) {
			s.remove(other)
			other.overwrittenBy(r)
		} else {
			kept = append(kept, other)
		}
	}
	clear(slot[len(kept):])
	s.insert(r)
	m.slots[key] = append(kept, r)
	return true
}

// clears reports whether clear removes r, which lies at or below its path.
func (s merger) clears(clear, r *record) bool {
	if r.kind.lww() {
		return s.wins(clear, r)
	}
	return clear.covers(r.actor, r.seq)
}

// mergeClear applies r, a clear, to everything at and below its path, unless a later one
// has come before it. It returns the latest of what readers saw and it removed, nil if
// that is nothing.
func (s merger) mergeClear(m *many, r *record) (top *record) {
	for _, other := range m.clears {
		if strings.HasPrefix(r.path(), other.path()) && other.covers(r.actor, r.seq) {
			s.stats.Superseded++
			return nil
		}
	}
	for _, key := range sortedSlots(m) { // the order of removals shows in where lists have holes
		slot := m.slots[key]
		if !strings.HasPrefix(key[2:], r.path()) {
			continue
		}
		kept := slot[:0]
		for _, other := range slot {
			if s.clears(r, other) {
				if other.shows() && (top == nil || s.wins(other, top)) {
					top = other
				}
				s.remove(other)
				other.overwrittenBy(r)
			} else {
				kept = append(kept, other)
			}
		}
		clear(slot[len(kept):])
		if len(kept) == 0 {
			delete(m.slots, key)
		} else {
			m.slots[key] = kept
		}
	}
	kept := m.clears[:0]
	for _, other := range m.clears {
		if strings.HasPrefix(other.path(), r.path()) && r.covers(other.actor, other.seq) {
			s.remove(other)
			other.overwrittenBy(r)
		} else {
			kept = append(kept, other)
		}
	}
	clear(m.clears[len(kept):])
	s.insert(r)
	m.clears = append(kept, r)
	return top
}

// detach takes a dead or dropped record out of its cell.
func (s merger) detach(r *record) {
	c := r.cell
	visible := c.visible()
	s.remove(r)
	if c.many() == nil {
		c.view.Store(nil)
		s.settle(c, visible)
		return
	}
	drop := func(list []*record) []*record {
		for i, other := range list {
			if other == r {
				return append(list[:i:i], list[i+1:]...)
			}
		}
		return list
	}
	if r.kind == slotClear {
		c.many().clears = drop(c.many().clears)
	} else {
		key := slotKey(r.kind, r.path())
		if slot := drop(c.many().slots[key]); len(slot) == 0 {
			delete(c.many().slots, key)
		} else {
			c.many().slots[key] = slot
		}
	}
	s.settle(c, visible)
}

// Drop removes a live record that another replica, which has seen its dot, no
// longer has, and enters into the journal of conflicts who said so and when. It reports
// whether there was one. Removals and records that expire are not in the checksums and stay.
func (s *Store) Drop(d clock.Dot, teller clock.Actor, at clock.Timestamp) bool {
	i, ok := s.number[d.Actor]
	if !ok {
		return false
	}
	r := s.actors[i].at(d.Seq)
	if r == nil || !r.sums() {
		return false // those go in their own time
	}
	s.stats.Dropped++
	s.noteConflict("another peer holds it no more", Side{Dot: clock.Dot{Actor: teller}, Stamp: at}, r)
	merger{s}.drop(r)
	return true
}

// drop takes r out of the state and tells readers.
func (s merger) drop(r *record) {
	c, plain, shown := r.cell, r.cell.many() == nil, r.shows()
	s.detach(r)
	if !shown {
		return
	}
	cause := CauseDelete
	if !plain && c.visible() {
		cause = CausePut
	}
	ch := s.changed(r, cause, clock.After, false)
	ch.Lazy = !plain
	if plain {
		ch.Old = content(r)
	}
}

// Adopt marks all that c has seen as seen: of a replica whose context it is, this
// one has every live record.
func (s *Store) Adopt(c *clock.CausalContext) {
	for a, span := range c.Beyond(s.context).All() {
		if i, ok := s.number[a]; ok {
			s.seenBy(s.actors[i]).Join(span)
			continue
		}
		s.context.Ensure(a).Join(span) // of whom there are no records needs no more
		s.additions++
		if s.journals {
			s.heard = append(s.heard, a)
		}
	}
}

// merger decides between a record that comes and those at its place.
type merger struct{ *Store }

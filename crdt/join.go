package crdt

import (
	"strings"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// merge makes r part of the state, unless a live record covers it or wins against it. r has
// a new dot, which the caller adds to the causal context. r.cell is set, and its key is in
// the index.
func (s *Store) merge(r *record, local bool) {
	s.noteMerged(r)
	merger{s}.mergeInto(r.cell, r, local)
	if !r.live() {
		s.noteGone(r)
	}
}

// mergeInto merges r into its cell.
func (s merger) mergeInto(c *cell, r *record, local bool) {
	if r.kind == slotRegister && r.cell.many() == nil && (r.ext == nil || r.ext.path == "") {
		s.mergePlain(r, local)
		return
	}
	visible := c.visible()
	old := viewValue(c.view.Load())
	m := s.promote(c)
	r.shard = m.shard
	if r.kind == slotClear {
		top := s.mergeClear(m, r)
		s.updateView(c, visible)
		if top != nil {
			s.noteLazyChange(r, old, removal(c, visible), clock.After, local)
			s.changes[len(s.changes)-1].Kind = kindOf(top.kind, top.path())
		}
		return
	}
	if r.kind == slotDeadline {
		s.mergeDeadline(m, r, old, visible, local)
		return
	}
	for _, clear := range m.clears {
		if strings.HasPrefix(r.path(), clear.path()) && s.clearRemoves(clear, r) {
			s.stats.Superseded++
			s.updateView(c, visible)
			return
		}
	}
	ord := clock.After
	var leaf *record // the leaf that r, a record of an empty set, overwrites
	if r.kind.lww() {
		if slot := m.slots[slotKey(r.kind, r.path())]; isEmptySet(r) && len(slot) > 0 && slot[0].isContent() && !isEmptySet(slot[0]) {
			leaf = slot[0]
		}
		var won bool
		if ord, won = s.mergeLeaf(m, r); !won {
			s.updateView(c, visible)
			if ord == clock.Concurrent {
				s.noteLazyChange(r, old, CauseConflict, ord, local)
			}
			return
		}
	} else if !s.mergeDotted(m, r) {
		s.updateView(c, visible)
		return
	}
	s.updateView(c, visible)
	cause := CausePut
	if !r.isContent() || s.reported(m, r) {
		cause = removal(c, visible)
	}
	s.noteLazyChange(r, old, cause, ord, local)
	if leaf != nil {
		s.changes[len(s.changes)-1].touchAlso(leaf)
	}
}

// removal returns the cause to report after a removal in c: CausePut if the key still has
// content, CauseDelete if it has lost all of it, 0 if it had none before. visible says
// whether the key had content before the removal.
func removal(c *cell, visible bool) Cause {
	switch {
	case c.visible():
		return CausePut
	case visible:
		return CauseDelete
	}
	return 0
}

// noteLazyChange adds a change of a key with slots to the log. old is the value that was
// rendered last, absent if no reader has asked for it. The records that one batch wrote at
// one key become one change.
func (s merger) noteLazyChange(r *record, old Value, cause Cause, ord clock.Order, local bool) {
	if cause == 0 || r.kind >= firstUnknown {
		return
	}
	var large *largeChange
	first := true
	if n := len(s.changes); n > 0 && cause != CauseConflict {
		last := &s.changes[n-1]
		if last.Stamp == r.stamp && last.Dot.Actor == s.actors[r.actor].actor && last.Key == r.cell.key() &&
			(last.Cause == CausePut || last.Cause == CauseDelete) {
			old, ord, large, first = last.Old, max(ord, last.Order), last.large, false
			s.changes = s.changes[:n-1]
		}
	}
	ch := s.noteChange(r, cause, ord, local)
	ch.Lazy, ch.Old = true, old
	if cause != CauseConflict && (first || large != nil) {
		ch.touch(r, large)
	}
}

// viewValue returns the value of a cell's view, absent if nothing is rendered.
func viewValue(view *record) Value {
	if view == nil || view.tomb || view.stale() {
		return Value{}
	}
	return Value{view.val()}
}

// mergePlain merges r into a plain key, which is the fast path.
func (s merger) mergePlain(r *record, local bool) {
	c := r.cell
	cur := c.view.Load()
	if cur == nil {
		r.shard = shardOf(c.key())
		s.insert(r)
		c.view.Store(r)
		if r.tomb {
			return // the delete removes nothing that readers saw, so it is no change
		}
		s.visibleKeys.Add(1)
		s.noteChange(r, CausePut, clock.After, local).New = shownValue(r)
		return
	}
	r.shard = cur.shard
	ord := order(r, cur)
	if !s.wins(r, cur) {
		s.stats.Superseded++
		if ord == clock.Concurrent {
			s.journalLoser(cur, r)
			ch := s.noteChange(r, CauseConflict, ord, local)
			ch.Old, ch.New = shownValue(cur), shownValue(cur)
		}
		return
	}
	s.replace(r, cur, ord)
	c.view.Store(r)
	cause := CausePut
	switch {
	case r.tomb && !s.visible(nil, cur):
		return
	case r.tomb:
		s.visibleKeys.Add(-1)
		cause = CauseDelete
	case !s.visible(nil, cur):
		s.visibleKeys.Add(1)
	}
	ch := s.noteChange(r, cause, ord, local)
	ch.Old, ch.New = shownValue(cur), shownValue(r)
}

// replace makes r live instead of cur, which lost to r at a last-write-wins slot. The
// losers of cur that r does not cover become losers of r.
func (s merger) replace(r, cur *record, ord clock.Order) {
	var seen []pastEntry
	if len(s.pruned) > 0 {
		for _, p := range s.pruned[cur] {
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
		s.journalLoser(r, cur)
	}
}

// remember keeps the dots of r's concurrent losers until r is stable. r is live.
func (s merger) remember(r *record, seen []pastEntry) {
	if _, ok := s.pruned[r]; !ok && len(r.past()) == 0 && r.isContent() && r.expiry() == 0 {
		s.actors[r.actor].await(r)
	}
	s.pruned[r] = seen
}

// journalLoser enters a concurrent loser into the conflict journal. It also remembers the
// loser's dot, so that the next local write covers it.
func (s merger) journalLoser(winner, loser *record) {
	s.stats.Conflicts++
	rule := "later stamp"
	if winner.stamp == loser.stamp {
		rule = "equal stamps, greater actor"
	}
	s.noteConflict(rule, s.side(winner), loser)
	list := mergePast(s.pruned[winner], loser.actor, loser.seq)
	for _, p := range loser.past() {
		list = mergePast(list, p.actor, p.seq)
	}
	s.remember(winner, list)
}

// mergeLeaf merges r into its last-write-wins slot in m. ord is the order of r relative to
// the record that was there.
func (s merger) mergeLeaf(m *many, r *record) (ord clock.Order, won bool) {
	key := slotKey(r.kind, r.path())
	slot := m.slots[key]
	if len(slot) == 0 {
		s.insert(r)
		m.slots[key] = []*record{r}
		s.follow(m, key, false, s.visible(m, r))
		return clock.After, true
	}
	cur := slot[0]
	ord = order(r, cur)
	won = s.wins(r, cur)
	if !won {
		s.stats.Superseded++
		if ord == clock.Concurrent {
			s.journalLoser(cur, r)
		}
		return ord, false
	}
	before := s.visible(m, cur)
	s.replace(r, cur, ord)
	slot[0] = r
	s.follow(m, key, before, s.visible(m, r))
	return ord, true
}

// mergeDotted merges r into its slot in m, which keeps every record that no other covers.
// It returns false if another record covers r.
func (s merger) mergeDotted(m *many, r *record) bool {
	key := slotKey(r.kind, r.path())
	slot := m.slots[key]
	for _, other := range slot {
		if other.covers(r.actor, r.seq) {
			s.stats.Superseded++
			return false
		}
	}
	kept, before := slot[:0], s.shown(m, slot)
	for _, other := range slot {
		if r.covers(other.actor, other.seq) {
			s.remove(other)
			s.noteCovered(r, other)
			other.overwrittenBy(r)
		} else {
			kept = append(kept, other)
		}
	}
	clear(slot[len(kept):])
	s.insert(r)
	kept = append(kept, r)
	m.slots[key] = kept
	s.follow(m, key, before, s.shown(m, kept))
	return true
}

// clearRemoves reports whether clear removes r, which is at or below the path of clear.
func (s merger) clearRemoves(clear, r *record) bool {
	if r.kind.lww() {
		return s.wins(clear, r)
	}
	return clear.covers(r.actor, r.seq)
}

// mergeClear applies the clear r to everything at and below its path, unless another clear
// covers r. It returns the latest of the removed records that readers could see, nil if
// there is none.
func (s merger) mergeClear(m *many, r *record) (top *record) {
	for _, other := range m.clears {
		if strings.HasPrefix(r.path(), other.path()) && other.covers(r.actor, r.seq) {
			s.stats.Superseded++
			return nil
		}
	}
	for _, key := range sortedSlots(m) { // a fixed order, because the order of removals decides which entries of live lists are nil
		slot := m.slots[key]
		if isDeadline(key) || !strings.HasPrefix(key[2:], r.path()) {
			continue
		}
		before := s.shown(m, slot)
		kept := slot[:0]
		for _, other := range slot {
			if s.clearRemoves(r, other) {
				if s.visible(m, other) && (top == nil || s.wins(other, top)) {
					top = other
				}
				s.remove(other)
				s.noteCovered(r, other)
				other.overwrittenBy(r)
			} else {
				kept = append(kept, other)
			}
		}
		clear(slot[len(kept):])
		s.follow(m, key, before, s.shown(m, kept))
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
			s.noteCovered(r, other)
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

// detach removes the live record r from the state and from its cell.
func (s merger) detach(r *record) {
	c := r.cell
	visible, old := c.visible(), viewValue(c.view.Load())
	s.remove(r)
	s.noteGone(r)
	if c.many() == nil {
		c.view.Store(nil)
		s.updateView(c, visible)
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
	m := c.many()
	var turned []*record
	switch {
	case r.kind == slotClear:
		m.clears = drop(m.clears)
	case r.kind == slotDeadline:
		turned = s.restate(m, func() {
			key := slotKey(r.kind, r.path())
			if m.slots[key] = drop(m.slots[key]); len(m.slots[key]) == 0 {
				delete(m.slots, key)
			}
			m.deadline = s.sumUp(m)
		})
	default:
		key := slotKey(r.kind, r.path())
		before := s.shown(m, m.slots[key])
		slot := drop(m.slots[key])
		s.follow(m, key, before, s.shown(m, slot))
		if len(slot) == 0 {
			delete(m.slots, key)
		} else {
			m.slots[key] = slot
		}
	}
	s.updateView(c, visible)
	s.noteTurned(m, turned, old, false)
}

// Drop removes the live record with the dot d because another replica, which has seen d,
// no longer has a record with it. The conflict journal gets an entry with reporter, which
// is that replica's actor, and the time at. Drop reports whether there was such a record.
// It leaves removals and records that expire, which the checksums do not cover.
func (s *Store) Drop(d clock.Dot, reporter clock.Actor, at clock.Timestamp) bool {
	i, ok := s.number[d.Actor]
	if !ok {
		return false
	}
	r := s.actors[i].liveRecord(d.Seq)
	if r == nil || !s.checksummed(r) {
		return false // Collect forgets removals and expired records
	}
	s.stats.Dropped++
	s.noteConflict("another peer holds it no more", Side{Dot: clock.Dot{Actor: reporter}, Stamp: at}, r)
	merger{s}.dropRecord(r)
	return true
}

// dropRecord removes r from the state and logs the change.
func (s merger) dropRecord(r *record) {
	c, plain, shown := r.cell, r.cell.many() == nil, s.visible(r.cell.many(), r)
	s.detach(r)
	if !shown {
		return
	}
	cause := CauseDelete
	if !plain && c.visible() {
		cause = CausePut
	}
	ch := s.noteChange(r, cause, clock.After, false)
	ch.Lazy = !plain
	ch.touch(r, nil)
	if plain {
		ch.Old = shownValue(r)
	}
}

// Adopt adds every dot of c to the causal context. c is the context of another replica, and
// the caller must have merged every live record of that replica.
func (s *Store) Adopt(c *clock.CausalContext) {
	for a, span := range c.Beyond(s.context).All() {
		if i, ok := s.number[a]; ok {
			s.spanOf(s.actors[i]).Join(span)
			s.noteSeen(s.actors[i])
			continue
		}
		s.context.Ensure(a).Join(span) // an actor without records needs no actorState
		s.additions++
		if s.journals {
			s.seenDots = append(s.seenDots, a)
		}
	}
}

// merger merges a record with those that are at its slot, and above and below its path.
type merger struct{ *Store }

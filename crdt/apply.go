package crdt

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// Apply makes local writes: all of ops, or none and an error. Each later op sees
// the earlier ones. They take consecutive dots and share stamp. The result is
// valid until the next call of Apply or JoinSection; it is empty if nothing
// changed (a bump below the maximum, the removal of what is absent).
//
// Errors: *KeyError, *wire.ValueError, *TypeError, *ConflictError, *OrderError, *FullError;
// of several ops within an *OpError.
func (s *Store) Apply(stamp clock.Timestamp, nowMillis uint64, ops ...Op) ([]Delta, error) {
	s.deltas = s.deltas[:0]
	if len(ops) > MaxOps {
		return nil, fmt.Errorf("%d operations in one batch; at most %d are allowed", len(ops), MaxOps)
	}
	u := unit{s: s, now: nowMillis, ops: ops}
	kinds := make([]Kind, 0, 4)
	for i := range ops {
		kind, err := u.admit(i)
		if err != nil {
			if len(ops) > 1 {
				err = &OpError{i, err}
			}
			return nil, err
		}
		kinds = append(kinds, kind)
		if i+1 < len(ops) {
			u.note(i, kind)
		}
	}
	if err := s.admit(ops, kinds); err != nil {
		return nil, err
	}
	w := writer{s: s, stamp: stamp, now: nowMillis}
	for i := range ops {
		w.run(&ops[i], kinds[i])
	}
	s.truncate()
	return s.deltas, nil
}

// version returns the version of what a reader sees at key.
func (s *Store) version(key string, nowMillis uint64) Version {
	e, ok := s.Render(key, nowMillis)
	if !ok {
		return 0
	}
	return e.Version()
}

// kind returns what key visibly is, 0 if it is absent.
func (s *Store) kind(key string, nowMillis uint64) Kind {
	c, ok := s.index.Load(key)
	if !ok {
		return 0
	}
	if c.many() == nil {
		if r := c.view.Load(); r != nil && r.at(nowMillis) {
			return Register
		}
		return 0
	}
	family, _ := s.family(c.many(), nowMillis)
	return family
}

// writer turns one op into records.
type writer struct {
	s      *Store
	stamp  clock.Timestamp
	now    uint64 // Unix milliseconds: what expired by then is not there
	expiry uint64
	cell   *cell
}

// cellOf returns the cell of key, made if absent.
func (s *Store) cellOf(key string) *cell {
	c, ok := s.index.Load(key)
	if !ok {
		c = newCell(key)
		s.index.Store(c.key(), c)
	}
	return c
}

func (w *writer) run(op *Op, kind Kind) {
	w.cell = w.s.cellOf(op.Key)
	w.expiry = op.Expiry
	path := ""
	if len(op.Path) > 0 {
		path = pathOf(op.Path)
	}
	switch op.Verb {
	case Delete:
		if w.delete(path) && path != "" {
			w.mark(pathOf(op.Path[:len(op.Path)-1]))
		}
	case Put:
		if op.nulls() {
			in := op.Path[:len(op.Path)-1]
			w.makeRoom(in, pathOf(in), Object)
			w.patch(pathOf(in), wire.AppendNil(wire.AppendStr(wire.AppendMap(nil, 1), op.Path[len(in)])))
			break
		}
		w.makeRoom(op.Path, path, kind)
		w.assign(kind, path, op.Value)
	case Add:
		w.makeRoom(op.Path, path, Set)
		for _, v := range op.Values {
			w.put(slotElement, elementPath(path, v), "")
		}
	case Remove:
		w.removeElements(path, op.Values)
	case Increment:
		if op.Delta != 0 {
			w.makeRoom(op.Path, path, Counter)
			w.increment(path, op.Delta)
		}
	case Bump:
		w.makeRoom(op.Path, path, Max)
		w.bump(path, op.Value)
	case Patch:
		w.makeRoom(op.Path, path, Object)
		w.patch(path, op.Value.bytes())
	}
	if w.cell.many() == nil && w.cell.view.Load() == nil {
		w.s.index.Delete(w.cell.key()) // nothing was written to a new key
	}
}

// assign writes a whole value of kind at path.
func (w *writer) assign(kind Kind, path string, v Value) {
	switch kind {
	case Custom:
		w.put(slotSibling, path, v.raw)
	case Max:
		w.bump(path, v)
	case Set:
		w.become(path, v)
	case Object:
		w.clearBelow(path)
		w.patch(path, v.bytes())
	default:
		w.put(slotRegister, path, v.raw)
	}
}

// makeRoom removes what a write of kind at path would contradict: what stands
// where the path leads through, and what of other kinds is at or below its end.
func (w *writer) makeRoom(segments []string, path string, kind Kind) {
	if w.cell.many() == nil {
		if r := w.cell.view.Load(); r != nil && !r.tomb && (path != "" || kind != Register) {
			w.tombstone(slotRegister, "")
		}
		return
	}
	at := ""
	for i := range segments {
		w.clearLeaf(at, Object)
		at = pathOf(segments[:i+1])
	}
	w.clearLeaf(path, kind)
}

// clearLeaf removes everything at and below path but what belongs to a value of
// kind there: for an object, all below it.
func (w *writer) clearLeaf(path string, kind Kind) {
	m := w.cell.many()
	if m == nil {
		return
	}
	if kind == Object { // its fields stay: what can be in the way is at path itself
		for _, k := range leafKinds {
			if slices.ContainsFunc(m.slots[slotKey(k, path)], (*record).counts) {
				w.tombstone(k, path)
			}
		}
		if m.elements == 0 {
			return
		}
	}
	if path != "" && kind != Object && kind != Set && m.holdsOnly(leafSlot(kind), path) {
		return // a leaf written again
	}
	var other []string
	kept := false
	for key, slot := range m.slots {
		if !strings.HasPrefix(key[2:], path) || !slices.ContainsFunc(slot, (*record).counts) {
			continue
		}
		if belongs(slot[0], path, kind) {
			kept = true
		} else {
			other = append(other, key)
		}
	}
	switch {
	case len(other) == 0:
	case kept:
		slices.Sort(other)
		for _, key := range other {
			w.tombstone(m.slots[key][0].kind, key[2:])
		}
	default:
		w.clearBelow(path)
	}
}

// holdsOnly reports whether there is content of kind at path, which is inside the key,
// and no other at or below it.
func (m *many) holdsOnly(kind slotKind, path string) bool {
	if m.below[path] > 0 || !slices.ContainsFunc(m.slots[slotKey(kind, path)], (*record).counts) {
		return false
	}
	for k := slotRegister; k <= slotMarker; k++ {
		if k != kind && m.kinds>>k&1 == 1 && slices.ContainsFunc(m.slots[slotKey(k, path)], (*record).counts) {
			return false
		}
	}
	return true
}

var leafKinds = []slotKind{slotRegister, slotMax, slotCounter, slotSibling}

// belongs reports whether r, at or below path, is part of a value of kind there.
func belongs(r *record, path string, kind Kind) bool {
	switch kind {
	case Object:
		return !isElementOf(r.path(), path) && (r.path() != path || r.kind == slotMarker)
	case Set:
		return isElementOf(r.path(), path) || r.path() == path && path != "" && r.val() == emptySet
	}
	return r.path() == path && r.kind == leafSlot(kind)
}

// delete removes what is at and below path, and reports whether there was anything.
func (w *writer) delete(path string) bool {
	c := w.cell
	if c.many() != nil {
		return w.clearBelow(path)
	}
	if r := c.view.Load(); path == "" && r != nil && !r.tomb {
		w.tombstone(slotRegister, "")
		return true
	}
	return false
}

// clearBelow removes everything at and below path, and reports whether there was
// anything: with one clear if
// this replica has seen every dot up to those it removes, for then the clear's
// vector names no dot it has not seen; else slot by slot. A clear also removes leaves
// that are older and were not seen.
func (w *writer) clearBelow(path string) bool {
	m := w.cell.many()
	if m == nil {
		return false
	}
	s := w.s
	below, seen := m.removable(path)
	leaf := len(below) == 1 && below[0].path() == path
	if leaf || !s.contiguous(seen) {
		for _, r := range below {
			w.tombstone(r.kind, r.path())
		}
	} else if len(below) > 0 {
		r := w.record(slotClear, path, nil)
		r.tomb = true
		w.setPast(r, seen)
		w.commit(r)
	}
	return len(below) > 0
}

// removable returns what a removal of path is to name: one record of each slot with
// content at and below it, and the dots of all that is or was there.
func (m *many) removable(path string) (content []*record, seen []past) {
	note := func(r *record) {
		seen = mergePast(seen, r.actor, r.seq)
		for _, p := range r.past() {
			seen = mergePast(seen, p.actor, p.seq)
		}
	}
	for _, key := range sortedSlots(m) {
		if !strings.HasPrefix(key[2:], path) {
			continue
		}
		for _, r := range m.slots[key] {
			note(r)
		}
		if slices.ContainsFunc(m.slots[key], (*record).counts) {
			content = append(content, m.slots[key][0])
		}
	}
	for _, c := range m.clears {
		if strings.HasPrefix(c.path(), path) {
			note(c)
		}
	}
	return content, seen
}

// contiguous reports whether every dot up to those seen was seen here.
func (s *Store) contiguous(seen []past) bool {
	return !slices.ContainsFunc(seen, func(p past) bool { return p.seq > s.actors[p.actor].span.Base })
}

func sortedSlots(m *many) []string {
	keys := make([]string, 0, len(m.slots))
	for k := range m.slots {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// put writes val at a slot, over everything seen there.
func (w *writer) put(kind slotKind, path, val string) {
	w.s.scratch = append(w.s.scratch[:0], val...)
	r := w.record(kind, path, w.s.scratch)
	w.setPast(r, w.slotPast(kind, path, false))
	w.commit(r)
}

// tombstone removes what is seen at one slot.
func (w *writer) tombstone(kind slotKind, path string) {
	r := w.record(kind, path, nil)
	r.tomb = true
	w.setPast(r, w.slotPast(kind, path, false))
	r.clearExpiry()
	w.commit(r)
}

func (r *record) clearExpiry() {
	if r.ext != nil {
		r.ext.expiry = 0
	}
}

// removeElements removes those that are there from the set at path. A set inside an object
// stays without them.
func (w *writer) removeElements(path string, values []Value) {
	removed := false
	for _, v := range values {
		at := elementPath(path, v)
		if m := w.cell.many(); m != nil && slices.ContainsFunc(m.slots[slotKey(slotElement, at)], (*record).counts) {
			w.tombstone(slotElement, at)
			removed = true
		}
	}
	if removed && path != "" {
		w.put(slotRegister, path, emptySet)
	}
}

// become makes the set at path the elements of v, each to expire as this write says:
// it adds what is missing or has another expiry and removes what is seen and not listed.
func (w *writer) become(path string, v Value) {
	want := make(map[string]bool)
	r := wire.NewReader(v.bytes())
	for range r.ArrayLen() {
		want[elementPath(path, Value{string(r.Raw())})] = true
	}
	have := make(map[string]bool)
	if m := w.cell.many(); m != nil {
		for _, key := range sortedSlots(m) {
			slot := m.slots[key]
			if slot[0].kind == slotElement && isElementOf(slot[0].path(), path) && slices.ContainsFunc(slot, (*record).counts) {
				have[key[2:]] = lasting(alive(slot, w.now)) == cmp.Or(w.expiry, never)
				if !want[key[2:]] {
					w.tombstone(slotElement, key[2:])
				}
			}
		}
	}
	missing := make([]string, 0, len(want))
	for at := range want {
		if !have[at] {
			missing = append(missing, at)
		}
	}
	slices.Sort(missing)
	for _, at := range missing {
		w.put(slotElement, at, "")
	}
	if len(want) == 0 && path != "" {
		w.put(slotRegister, path, emptySet)
	}
}

// increment adds n to this actor's part of the counter at path.
func (w *writer) increment(path string, n int64) {
	if n == 0 {
		return
	}
	var up, down uint64
	if m := w.cell.many(); m != nil {
		for _, r := range m.slots[slotKey(slotCounter, path)] {
			if r.actor == w.s.self.index && r.at(w.now) {
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
	w.s.scratch = appendCounter(w.s.scratch[:0], up, down)
	r := w.record(slotCounter, path, w.s.scratch)
	w.setPast(r, w.slotPast(slotCounter, path, true))
	w.commit(r)
}

// bump raises the max at path to v. A v that does not raise it writes nothing, unless
// it is to last longer: then the max does.
func (w *writer) bump(path string, v Value) {
	val := v
	if m := w.cell.many(); m != nil {
		for _, r := range alive(m.slots[slotKey(slotMax, path)], w.now) {
			have := Value{r.val()}
			if !lower(have, v) && cmp.Or(r.expiry(), never) >= cmp.Or(w.expiry, never) {
				return
			}
			if lower(val, have) {
				val = have
			}
		}
	}
	w.put(slotMax, path, val.raw)
}

// lower reports whether a is a number below b.
func lower(a, b Value) bool {
	c, err := wire.CompareNumber(a.bytes(), b.bytes())
	return err == nil && c < 0
}

// never is later than any expiry.
const never = ^uint64(0)

// lasting returns until when the last of list lives, 0 if it is empty.
func lasting(list []*record) (until uint64) {
	for _, r := range list {
		until = max(until, cmp.Or(r.expiry(), never))
	}
	return until
}

// slotPast is what a write at the slot has seen: the dots of its live records,
// their pasts, and losers that were pruned. A count covers only its own actor's
// earlier count, and removals.
func (w *writer) slotPast(kind slotKind, path string, count bool) []past {
	var seen []past
	note := func(r *record) {
		if count && r.actor != w.s.self.index && !r.tomb {
			return
		}
		if r.actor != w.s.self.index {
			seen = mergePast(seen, r.actor, r.seq)
		}
		for _, list := range [][]past{r.past(), w.s.seen[r]} {
			for _, p := range list {
				if p.actor != w.s.self.index {
					seen = mergePast(seen, p.actor, p.seq)
				}
			}
		}
	}
	if m := w.cell.many(); m != nil {
		for _, r := range m.slots[slotKey(kind, path)] {
			note(r)
		}
		for _, c := range m.clears {
			if strings.HasPrefix(path, c.path()) {
				note(c) // what it removed here was seen too
			}
		}
	} else if r := w.cell.view.Load(); r != nil && kind == slotRegister && path == "" {
		note(r)
	}
	return seen
}

func (w *writer) record(kind slotKind, path string, val []byte) *record {
	r := newRecord(val)
	r.cell, r.kind, r.stamp, r.actor = w.cell, kind, w.stamp, w.s.self.index
	if path != "" || w.expiry != 0 {
		e := r.extend()
		e.path, e.expiry = path, w.expiry
	}
	return r
}

func (w *writer) setPast(r *record, seen []past) {
	if len(seen) == 0 {
		return
	}
	r.extend().past = seen
}

// commit gives r its dot and merges it. A local write at a slot always wins: its
// stamp is later than any it has met and its past covers them.
func (w *writer) commit(r *record) {
	s := w.s
	if r.kind == slotClear {
		r.clearExpiry()
	}
	r.seq = s.self.span.Head() + 1
	s.seenBy(s.self).Add(r.seq)
	s.merge(r, true)
	s.deltas = append(s.deltas, s.delta(r))
}

package crdt

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sentinel-peer/sentinel-peer/clock"
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
	if err := u.room(kinds); err != nil {
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
	if family, sole := c.many().sole(); sole {
		for _, slot := range c.many().slots {
			if slices.ContainsFunc(slot, func(r *record) bool { return r.kind < firstUnknown && r.at(nowMillis) }) {
				return family // without a look at the rest
			}
		}
		return 0
	}
	family, _ := renderer{s}.family(c.many(), nowMillis)
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
			w.patch(pathOf(in), nullField(op.Path[len(in)]))
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

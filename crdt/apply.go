package crdt

import (
	"fmt"
	"strings"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// Apply makes a batch of local writes. It makes either all of ops, or none and returns an
// error. Each operation sees the earlier ones of the batch. The records take consecutive
// dots and share stamp, which must be later than every stamp that the store has met.
// nowMillis is the time in Unix milliseconds that decides what has expired. The result
// is valid until the next call of Apply, Commit or JoinSection. It is empty if nothing
// changed, as after a bump below the maximum or the removal of an absent element.
//
// The error is a *KeyError, *wire.ValueError, *TypeError, *ConflictError, *OrderError or
// *FullError. If there are several ops, an *OpError wraps each of these but a *FullError,
// which is about the whole batch. An unknown verb or kind, or more than MaxOps operations,
// give an error without a type of its own.
func (s *Store) Apply(stamp clock.Timestamp, nowMillis uint64, ops ...Op) ([]Delta, error) {
	if len(ops) > MaxOps {
		return nil, tooMany(len(ops))
	}
	b := Batch{s: s, stamp: stamp, now: nowMillis, kinds: make([]Kind, 0, 4)}
	for i := range ops {
		b.ops = ops[:i+1]
		if err := b.judge(); err != nil {
			if len(ops) > 1 {
				err = &OpError{i, err}
			}
			return nil, err
		}
	}
	return b.Commit()
}

func tooMany(n int) error {
	return fmt.Errorf("%d operations in one batch; at most %d are allowed", n, MaxOps)
}

// writer turns one operation into records and merges them.
type writer struct {
	s      *Store
	stamp  clock.Timestamp
	now    uint64 // Unix milliseconds; a record that expires at or before now counts as absent
	expiry uint64 // Op.Expiry of the operation that is being made
	cell   *cell  // cell of that operation's key
}

// cellOf returns the cell of key. It creates the cell if there is none.
func (s *Store) cellOf(key string) *cell {
	c, ok := s.index.Load(key)
	if !ok {
		c = newCell(key)
		s.index.add(c)
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
			w.putMarker(pathOf(op.Path[:len(op.Path)-1]))
		}
	case Put:
		if op.nulls() {
			in := op.Path[:len(op.Path)-1]
			w.clearContradicted(in, pathOf(in), Object)
			w.patch(pathOf(in), nullField(op.Path[len(in)]))
			break
		}
		w.clearContradicted(op.Path, path, kind)
		w.assign(kind, path, op.Value)
	case Add:
		w.clearContradicted(op.Path, path, Set)
		for _, v := range op.Values {
			w.put(slotElement, elementPath(path, v), "")
		}
	case Remove:
		w.removeElements(path, op.Values)
	case Increment:
		if op.Delta != 0 {
			w.clearContradicted(op.Path, path, Counter)
			w.increment(path, op.Delta)
		}
	case Bump:
		w.clearContradicted(op.Path, path, Max)
		w.bump(path, op.Value)
	case Patch:
		w.clearContradicted(op.Path, path, Object)
		w.patch(path, op.Value.bytes())
	case Expire:
		w.setDeadline()
	}
	if w.cell.many() == nil && w.cell.view.Load() == nil {
		w.s.index.remove(w.cell) // the operation wrote nothing to a new key
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
		w.assignSet(path, v)
	case Object:
		w.clearBelow(path)
		w.patch(path, v.bytes())
	default:
		w.put(slotRegister, path, v.raw)
	}
}

// put writes val at a slot. The record covers everything that this replica has seen there.
func (w *writer) put(kind slotKind, path, val string) {
	w.s.scratch = append(w.s.scratch[:0], val...)
	r := w.record(kind, path, w.s.scratch)
	w.setPast(r, w.slotPast(kind, path, false))
	w.commit(r)
}

// tombstone writes a removal that covers everything that this replica has seen at one slot.
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

// slotPast returns the past of a new record at the slot: the dots of the slot's live
// records, the pasts of these, and the concurrent losers in Store.pruned. With count set
// the record is part of a counter: it covers only its own actor's earlier count, and
// removals.
func (w *writer) slotPast(kind slotKind, path string, count bool) []pastEntry {
	var seen []pastEntry
	note := func(r *record) {
		if count && r.actor != w.s.self.index && !r.tomb {
			return
		}
		if r.actor != w.s.self.index {
			seen = mergePast(seen, r.actor, r.seq)
		}
		for _, list := range [][]pastEntry{r.past(), w.s.pruned[r]} {
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
				note(c) // the clear has covered records of this slot
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

func (w *writer) setPast(r *record, seen []pastEntry) {
	if len(seen) == 0 {
		return
	}
	r.extend().past = seen
}

// commit gives r the next dot of this actor and merges it. A local write always wins at its
// slot, because its stamp is later than every stamp there and its past covers them all.
func (w *writer) commit(r *record) {
	s := w.s
	if r.kind == slotClear {
		r.clearExpiry()
	}
	r.seq = s.self.span.Head() + 1
	s.spanOf(s.self).Add(r.seq)
	s.merge(r, true)
	s.deltas = append(s.deltas, s.delta(r))
}

package crdt

import (
	"slices"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// Begin returns an empty batch for s. stamp and nowMillis are as for Apply.
func Begin(s *Store, stamp clock.Timestamp, nowMillis uint64) *Batch {
	return &Batch{s: s, stamp: stamp, now: nowMillis}
}

// Do adds op to the batch. It fails with the errors of Apply for one operation, but for
// *FullError, which Commit returns. The batch is then as before.
func (b *Batch) Do(op Op) error {
	if len(b.ops) == MaxOps {
		return tooMany(MaxOps + 1)
	}
	b.ops = append(b.ops, op)
	err := b.judge()
	if err != nil {
		b.ops = b.ops[:len(b.ops)-1]
	}
	return err
}

// Ops returns the operations of the batch, which the caller must not change.
func (b *Batch) Ops() []Op { return b.ops }

// Commit makes all operations, or none and returns a *FullError. The result is that of
// Apply. The batch must not be used any more.
func (b *Batch) Commit() ([]Delta, error) {
	s := b.s
	s.deltas = s.deltas[:0]
	if err := b.checkMemory(); err != nil {
		return nil, err
	}
	w := writer{s: s, stamp: b.stamp, now: b.now}
	for i := range b.ops {
		w.run(&b.ops[i], b.kinds[i])
	}
	s.truncate()
	return s.deltas, nil
}

// planned returns what the operations of the batch do to key, nil if they do not write it.
func (b *Batch) planned(key string) *plannedKey {
	b.note(len(b.ops))
	return b.keys[key]
}

// Check returns nil if key has the version want, 0 for an absent key, and else a
// *ConflictError. It returns an *OrderError if an operation of the batch writes key.
func (b *Batch) Check(key string, want Version) error {
	have, err := b.Version(key)
	if err == nil && have != want {
		err = &ConflictError{key, want, have}
	}
	return err
}

// Version returns the version of key, 0 if the key is absent. It fails with a *KeyError, and
// with an *OrderError if an operation of the batch writes key: the key has no version until
// Commit.
func (b *Batch) Version(key string) (Version, error) {
	if err := ValidateKey(key); err != nil {
		return 0, err
	}
	if b.planned(key) != nil {
		return 0, &OrderError{key}
	}
	return b.s.Probe(key, b.now).Version(), nil
}

// Sum returns the sum of the counter at path within key, 0 if there is none, after the
// operations of the batch.
func (b *Batch) Sum(key string, path ...string) int64 {
	return b.tally(key, path, b.planned(key)).sum
}

// Has reports whether v is an element of the set at key after the operations of the batch.
// The cost does not depend on the size of the set. It fails with a *KeyError, and with a
// *TypeError if the key is not a set.
func (b *Batch) Has(key string, v Value) (bool, error) {
	if err := ValidateKey(key); err != nil {
		return false, err
	}
	p := b.planned(key)
	switch have := b.kindOf(key, p); {
	case have == 0:
		return false, nil
	case have != Set:
		return false, &TypeError{Key: key, Want: Set, Have: have}
	case p != nil:
		for _, i := range slices.Backward(p.ops) {
			if in, decides := b.ops[i].decides(v); decides {
				return in, nil
			}
		}
	}
	return b.s.Probe(key, b.now).Has(v), nil
}

// contested reports whether concurrent writes have left content of several kinds at key.
func (b *Batch) contested(key string) bool {
	c, ok := b.s.index.Load(key)
	if !ok || c.many() == nil {
		return false
	}
	_, sole := c.many().soleKind()
	return !sole
}

// decides reports whether v is in the set at op's key after op, if op decides that.
func (op *Op) decides(v Value) (in, decides bool) {
	switch {
	case len(op.Path) > 0:
		return false, false
	case op.Verb == Add:
		in = slices.Contains(op.Values, v)
		return in, in
	case op.Verb == Remove:
		return false, slices.Contains(op.Values, v)
	case op.Verb == Put:
		return slices.Contains(op.Value.Elements(), v), true
	}
	return false, op.Verb == Delete
}

// Read returns the content of key after the operations of the batch, false if the key holds
// nothing then. If an operation writes the key, the first Read copies the key, and the
// entry's version and dot are not those that Commit will make.
func (b *Batch) Read(key string) (Entry, bool) {
	if p := b.planned(key); p != nil {
		b.replay(key, p)
		return b.trial.Render(key, b.now)
	}
	return b.s.Render(key, b.now)
}

// replay makes the noted operations on key, which p has, in the trial.
func (b *Batch) replay(key string, p *plannedKey) {
	if b.trial == nil {
		b.trial = New(Config{Actor: b.s.self.actor})
		if last := b.s.Last(); last > 0 {
			b.trial.spanOf(b.trial.self).Add(last) // the trial's dots come after those of the copies
		}
	}
	if p.tried == 0 {
		b.copyKey(key)
	}
	w := writer{s: b.trial, stamp: b.stamp, now: b.now}
	for ; p.tried < len(p.ops); p.tried++ {
		i := p.ops[p.tried]
		w.run(&b.ops[i], b.kinds[i])
	}
	b.trial.deltas, b.trial.changes = b.trial.deltas[:0], b.trial.changes[:0]
}

// copyKey copies the content of key to the trial. It leaves out removals and pasts, which
// matter only to records that arrive from other replicas.
func (b *Batch) copyKey(key string) {
	c, ok := b.s.index.Load(key)
	if !ok {
		return
	}
	to := b.trial.cellOf(key)
	if m := c.many(); m != nil {
		for _, slot := range m.slots {
			for _, r := range slot {
				b.copyRecord(to, r)
			}
		}
	} else if r := c.view.Load(); r != nil {
		b.copyRecord(to, r)
	}
	if to.many() == nil && to.view.Load() == nil {
		b.trial.index.remove(to)
	}
}

// copyRecord adds a copy of r to a cell of the trial if r is content.
func (b *Batch) copyRecord(to *cell, r *record) {
	if !b.s.contentAt(r.cell.many(), r, b.now) {
		return
	}
	n := newRecord(Value{r.val()}.bytes())
	n.cell, n.kind, n.stamp, n.seq = to, r.kind, r.stamp, r.seq
	n.actor = b.trial.intern(b.s.actors[r.actor].actor).index
	if expiry := b.s.expiryOf(r.cell.many(), r); r.path() != "" || expiry != 0 {
		e := n.extend()
		e.path, e.expiry = r.path(), expiry
	}
	b.trial.merge(n, true)
}

package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/memory"
)

// Tx is what the function of Agent.Update reads and writes with. A read sees the earlier writes of the
// function. A write or check that fails is remembered: Update then fails with the first such error,
// and the function may go on or return early. A Tx must be used by the function's goroutine only;
// its methods panic after the function has returned.
type Tx struct {
	mem *memory.Memory
	b   *crdt.Batch // nil after the function has returned
	how memory.Manner
	err error // of the first write or check that failed
}

// Update calls decide, and makes the writes of decide as one unit: on this peer all of them at one
// moment, or none. Nothing else writes to this peer from the first read of decide until then. Other
// peers usually see the unit at one moment too, but a repair of lost messages may bring it in parts.
// What decide has read holds on this peer only: another peer may write the same keys at the same
// moment, and then the merge decides. A decision that all peers must share needs a lock: see Locks.
//
// Update makes no write if decide returns an error, which Update returns, if a write or check of
// decide fails, or if decide panics. A unit has up to crdt.MaxOps writes, 1,024. Update waits within
// ctx, as Put does, before it calls decide.
//
// This peer does nothing else while decide runs, so decide should take microseconds. It must not wait,
// and must not call this or another Agent: a call that needs the lock of a peer does not return, and
// Update fails with ErrInUpdate.
func (a *Agent) Update(ctx context.Context, decide func(tx *Tx) error) error {
	var own error
	err := a.mem.Update(ctx, func(b *crdt.Batch) (memory.Manner, error) {
		tx := &Tx{mem: a.mem, b: b}
		defer func() { tx.b = nil }()
		if own = decide(tx); own != nil {
			return memory.Manner{}, own
		}
		return tx.how, tx.err
	})
	if err != nil && own == nil {
		return fmt.Errorf("update: %w", err)
	}
	return err
}

// batch returns the batch of a transaction that is under way.
func (tx *Tx) batch() *crdt.Batch {
	if tx.b == nil {
		panic("agent: a Tx is used after the function of Update has returned")
	}
	return tx.b
}

// note remembers the first error, which is about key.
func (tx *Tx) note(key string, err error) {
	if tx.err != nil {
		return
	}
	if _, unnamed := errors.AsType[*crdt.ValueError](err); unnamed {
		err = fmt.Errorf("%q: %w", key, err)
	}
	tx.err = err
}

// Err returns the error of the first write or check that failed, nil if none did.
func (tx *Tx) Err() error { return tx.err }

// Get is Agent.Get. Of a key that the transaction has written the first Get costs as much as a copy of
// the key; the results of Has and Increment cost the same for large and small keys.
func (tx *Tx) Get(key string) (crdt.Value, bool) {
	e, ok := tx.batch().Read(key)
	if !ok {
		return crdt.Value{}, false
	}
	v, err := tx.mem.Resolve(key, e)
	return v, err == nil
}

// Has reports whether the set at key has an element. It is false if the key is absent, and fails with a
// *crdt.TypeError if the key is no set.
func (tx *Tx) Has(key string, element any) bool {
	v, err := crdt.ValueOf(element)
	in := false
	if err == nil {
		in, err = tx.batch().Has(key, v)
	}
	tx.note(key, err)
	return in
}

// Version returns the version of key before the transaction, 0 if the key is absent. It fails with a
// *crdt.OrderError after a write of the key.
func (tx *Tx) Version(key string) crdt.Version {
	v, err := tx.batch().Version(key)
	tx.note(key, err)
	return v
}

// Check fails with a *crdt.ConflictError unless key has the version want, 0 for an absent key. The key
// need not be one that the transaction writes. Check fails with a *crdt.OrderError after a write of
// the key.
func (tx *Tx) Check(key string, want crdt.Version) { tx.note(key, tx.batch().Check(key, want)) }

// do adds a write of value; a Delete or Increment has none.
func (tx *Tx) do(op crdt.Op, value any, opts []WriteOption) {
	b := tx.batch()
	var err error
	if op.Verb == crdt.Put || op.Verb == crdt.Patch || op.Verb == crdt.Bump {
		op.Value, err = crdt.ValueOf(value)
	}
	var how memory.Manner
	if err == nil {
		how, err = memory.Prepare(&op, opts)
	}
	if err == nil {
		err = b.Do(op)
	}
	if err != nil {
		tx.note(op.Key, err)
		return
	}
	tx.how.Urgent = tx.how.Urgent || how.Urgent
	tx.how.Reports = append(tx.how.Reports, how.Reports...)
}

// Put is Agent.Put.
func (tx *Tx) Put(key string, value any, opts ...WriteOption) {
	tx.do(crdt.Op{Verb: crdt.Put, Key: key}, value, opts)
}

// Delete is Agent.Delete.
func (tx *Tx) Delete(key string, opts ...WriteOption) {
	tx.do(crdt.Op{Verb: crdt.Delete, Key: key}, nil, opts)
}

// Expire makes everything that key holds end ttl from now, in place of the TTLs that it was written with.
// It does not write the value: a removal from a set, or a later put, that another peer makes at the same
// time keeps its effect. What is written later ends by its own TTL, or never. Of deadlines that peers
// set concurrently the longest counts, and Persist counts over all. Expire of an absent key does nothing.
// Its cost grows with the number of elements or fields. It fails if ttl is less than a millisecond.
func (tx *Tx) Expire(key string, ttl time.Duration, opts ...WriteOption) {
	op, err := deadline(key, ttl)
	if err != nil {
		tx.note(key, fmt.Errorf("expire %q: %w", key, err))
		return
	}
	tx.do(op, nil, opts)
}

// Persist makes everything that key holds stay, whatever TTL it had, and is otherwise like Expire.
func (tx *Tx) Persist(key string, opts ...WriteOption) {
	tx.do(crdt.Op{Verb: crdt.Expire, Key: key}, nil, opts)
}

// Patch is Object.Patch.
func (tx *Tx) Patch(key string, fields any, opts ...WriteOption) {
	tx.do(crdt.Op{Verb: crdt.Patch, Key: key}, fields, opts)
}

// Increment is Counter.Add, and returns the sum after it as this peer knows it. With 0 it only reads
// the sum.
func (tx *Tx) Increment(key string, n int64) int64 {
	tx.do(crdt.Op{Verb: crdt.Increment, Key: key, Delta: n}, nil, nil)
	return tx.b.Sum(key)
}

// Bump is Max.Bump.
func (tx *Tx) Bump(key string, n any) { tx.do(crdt.Op{Verb: crdt.Bump, Key: key}, n, nil) }

// Add is Set.Add.
func (tx *Tx) Add(key string, values ...any) { tx.elements(crdt.Add, key, values) }

// Remove is Set.Remove.
func (tx *Tx) Remove(key string, values ...any) { tx.elements(crdt.Remove, key, values) }

func (tx *Tx) elements(verb crdt.Verb, key string, values []any) {
	op := crdt.Op{Verb: verb, Key: key, Values: make([]crdt.Value, 0, len(values))}
	for _, x := range values {
		v, err := crdt.ValueOf(x)
		if err != nil {
			tx.note(key, err)
			return
		}
		op.Values = append(op.Values, v)
	}
	tx.do(op, nil, nil)
}

// Report makes Update store in *v the version that key has right after the unit. A later write with
// IfVersion(*v) fails if the key was written in between. v must not be nil.
func (tx *Tx) Report(key string, v *crdt.Version) {
	tx.batch()
	tx.how.Reports = append(tx.how.Reports, memory.Report{Key: key, Into: v})
}

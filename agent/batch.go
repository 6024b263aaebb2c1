package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/memory"
)

// Batch collects writes that take effect together: on this peer all of them at one moment, or
// none. Other peers usually see them at one moment too, but a repair of lost messages may bring them
// in parts. A Batch must be used by one goroutine at a time.
type Batch struct {
	a      *Agent
	ops    []crdt.Op
	how    memory.Manner
	faults []error // of the writes that were added, for Commit to return
}

// Batch returns an empty batch. It may hold up to crdt.MaxOps writes, 1,024.
func (a *Agent) Batch() *Batch { return &Batch{a: a} }

// add adds a write. An error of value or opts is kept for Commit.
func (b *Batch) add(op crdt.Op, value any, opts []WriteOption) *Batch {
	var err error
	if op.Verb != crdt.Delete && op.Verb != crdt.Increment {
		op.Value, err = crdt.ValueOf(value)
	}
	if err == nil {
		var how memory.Manner
		how, err = memory.Prepare(&op, opts)
		b.how.Urgent = b.how.Urgent || how.Urgent
		b.how.Reports = append(b.how.Reports, how.Reports...)
	}
	if err != nil {
		b.faults = append(b.faults, &crdt.OpError{Index: len(b.ops), Err: fmt.Errorf("%q: %w", op.Key, err)})
	}
	b.ops = append(b.ops, op)
	return b
}

// Put adds the write of Agent.Put.
func (b *Batch) Put(key string, value any, opts ...WriteOption) *Batch {
	return b.add(crdt.Op{Verb: crdt.Put, Key: key}, value, opts)
}

// Delete adds the write of Agent.Delete.
func (b *Batch) Delete(key string, opts ...WriteOption) *Batch {
	return b.add(crdt.Op{Verb: crdt.Delete, Key: key}, nil, opts)
}

// Patch adds the write of Object.Patch.
func (b *Batch) Patch(key string, fields any, opts ...WriteOption) *Batch {
	return b.add(crdt.Op{Verb: crdt.Patch, Key: key}, fields, opts)
}

// Increment adds the write of Counter.Add.
func (b *Batch) Increment(key string, n int64) *Batch {
	return b.add(crdt.Op{Verb: crdt.Increment, Key: key, Delta: n}, nil, nil)
}

// Bump adds the write of Max.Bump.
func (b *Batch) Bump(key string, n any) *Batch {
	return b.add(crdt.Op{Verb: crdt.Bump, Key: key}, n, nil)
}

// Add adds the write of Set.Add.
func (b *Batch) Add(key string, values ...any) *Batch { return b.elements(crdt.Add, key, values) }

// Remove adds the write of Set.Remove.
func (b *Batch) Remove(key string, values ...any) *Batch { return b.elements(crdt.Remove, key, values) }

func (b *Batch) elements(verb crdt.Verb, key string, values []any) *Batch {
	op := crdt.Op{Verb: verb, Key: key}
	for _, x := range values {
		v, err := crdt.ValueOf(x)
		if err != nil {
			b.faults = append(b.faults, &crdt.OpError{Index: len(b.ops), Err: fmt.Errorf("%q: %w", key, err)})
		}
		op.Values = append(op.Values, v)
	}
	b.ops = append(b.ops, op)
	return b
}

// Report makes Commit store in *v the version that key has right after the batch. A later write with
// IfVersion(*v) fails if the key was written in between. v must not be nil.
func (b *Batch) Report(key string, v *crdt.Version) *Batch {
	b.how.Reports = append(b.how.Reports, memory.Report{Key: key, Into: v})
	return b
}

// Len returns how many writes the batch holds.
func (b *Batch) Len() int { return len(b.ops) }

// Commit makes the writes, and empties the batch if it succeeds. If it fails, no write has taken
// effect. The error is a *crdt.OpError if one write is wrong by itself; a batch with such a write
// cannot be committed any more.
func (b *Batch) Commit(ctx context.Context) error {
	err := errors.Join(b.faults...)
	if err == nil && len(b.ops) > 0 {
		err = b.a.mem.Write(ctx, b.how, b.ops...)
	}
	if err != nil {
		return fmt.Errorf("batch: %w", err)
	}
	b.ops, b.how, b.faults = nil, memory.Manner{}, nil
	return nil
}

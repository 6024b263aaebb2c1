package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/memory"
)

// Batch collects writes that take effect as one unit: all on this peer at one
// moment, or none. Other peers usually see them together; a repair may bring them
// in parts. A Batch is for one goroutine.
type Batch struct {
	a      *Agent
	ops    []crdt.Op
	how    memory.Manner
	faults []error
}

// Batch returns an empty batch, of up to crdt.MaxOps writes.
func (a *Agent) Batch() *Batch { return &Batch{a: a} }

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

// Put adds Agent.Put.
func (b *Batch) Put(key string, value any, opts ...WriteOption) *Batch {
	return b.add(crdt.Op{Verb: crdt.Put, Key: key}, value, opts)
}

// Delete adds Agent.Delete.
func (b *Batch) Delete(key string, opts ...WriteOption) *Batch {
	return b.add(crdt.Op{Verb: crdt.Delete, Key: key}, nil, opts)
}

// Patch adds Object.Patch.
func (b *Batch) Patch(key string, fields any, opts ...WriteOption) *Batch {
	return b.add(crdt.Op{Verb: crdt.Patch, Key: key}, fields, opts)
}

// Increment adds Counter.Add.
func (b *Batch) Increment(key string, n int64) *Batch {
	return b.add(crdt.Op{Verb: crdt.Increment, Key: key, Delta: n}, nil, nil)
}

// Bump adds Max.Bump.
func (b *Batch) Bump(key string, n any) *Batch {
	return b.add(crdt.Op{Verb: crdt.Bump, Key: key}, n, nil)
}

// Add adds Set.Add.
func (b *Batch) Add(key string, values ...any) *Batch { return b.elements(crdt.Add, key, values) }

// Remove adds Set.Remove.
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

// Report stores the version that key has right after the batch in *v: what a later
// IfVersion must name to fail if anything came in between.
func (b *Batch) Report(key string, v *crdt.Version) *Batch {
	b.how.Reports = append(b.how.Reports, memory.Report{Key: key, Into: v})
	return b
}

// Len returns how many writes the batch holds.
func (b *Batch) Len() int { return len(b.ops) }

// Commit makes the writes, and empties the batch if it succeeds. On an error none
// has taken effect; one that is wrong by itself is named by a *crdt.OpError.
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

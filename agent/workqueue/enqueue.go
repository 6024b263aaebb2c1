package workqueue

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/memory"
	"github.com/sentinel-peer/sentinel-peer/internal/queue"
)

// NewItem is something to be enqueued.
type NewItem struct {
	Value       any           // up to 1 MiB encoded, with 256 bytes for the rest of the item
	Priority    int           // greater comes first
	Delay       time.Duration // before it may be claimed; up to 24 h
	ID          string        // taken once per queue; made up if empty
	MaxAttempts int           // before it is dead; Config.MaxAttempts if zero
}

// EnqueueOption changes an item.
type EnqueueOption func(*NewItem)

// WithPriority has an item claimed before those of lower priority; 0 is the default.
func WithPriority(n int) EnqueueOption { return func(i *NewItem) { i.Priority = n } }

// WithDelay keeps an item from being claimed for a while.
func WithDelay(d time.Duration) EnqueueOption { return func(i *NewItem) { i.Delay = d } }

// WithID names an item, so that it is enqueued once however often that is tried: for
// as long as it is there, and Config.Retention longer. Two sides of a cut that
// enqueue one id enqueue one item, with the value of the later.
func WithID(id string) EnqueueOption { return func(i *NewItem) { i.ID = id } }

// WithMaxAttempts says how often an item is tried before it is dead.
func WithMaxAttempts(n int) EnqueueOption { return func(i *NewItem) { i.MaxAttempts = n } }

// Enqueue adds an item, and returns its id. It is on this peer when Enqueue returns;
// Agent.WaitReplicated waits until others have it too. Besides the errors of Put it
// fails with ErrDuplicate, ErrDraining, ErrFull and memory.ErrClosed.
func (q Queue) Enqueue(ctx context.Context, value any, opts ...EnqueueOption) (id string, err error) {
	item := NewItem{Value: value}
	for _, o := range opts {
		o(&item)
	}
	ids, err := q.EnqueueAll(ctx, []NewItem{item})
	if len(ids) == 1 {
		id = ids[0]
	}
	return id, err
}

// EnqueueAll adds items and returns their ids. Up to crdt.MaxOps, 1,024, are one unit:
// all or none. Items whose ids are taken are passed over; if that was all there was, it
// fails with ErrDuplicate.
func (q Queue) EnqueueAll(ctx context.Context, items []NewItem) (ids []string, err error) {
	x, err := q.open()
	if err == nil {
		x.do(func(core *queue.Index, _ time.Time) { err = core.Admit(len(items)) })
	}
	if err != nil {
		return nil, fmt.Errorf("queue %q: %w", q.name, err)
	}
	fresh := 0
	for some := range slices.Chunk(items, crdt.MaxOps) {
		names, n, err := q.unit(ctx, x, some)
		if err != nil {
			return ids, fmt.Errorf("queue %q: %w", q.name, err)
		}
		ids = append(ids, names...)
		fresh += n
	}
	q.s.index(q.name).do(func(core *queue.Index, _ time.Time) { core.Counters.Enqueued += uint64(fresh) })
	if fresh == 0 && len(items) > 0 {
		return ids, fmt.Errorf("queue %q: item %q: %w", q.name, ids[0], ErrDuplicate)
	}
	return ids, nil
}

// unit adds items in one write, and returns how many had not been there.
func (q Queue) unit(ctx context.Context, x *index, items []NewItem) (ids []string, fresh int, err error) {
	ids = make([]string, len(items))
	ops := make([]crdt.Op, 0, len(items))
	seen := make(map[string]bool)
	for i := range items {
		op, err := q.op(&items[i], &ids[i])
		if err != nil {
			return nil, 0, fmt.Errorf("item %d: %w", i+1, err)
		}
		if op.If != nil { // named by its enqueuer
			if seen[ids[i]] || x.known(ids[i]) {
				continue
			}
			seen[ids[i]] = true
		}
		ops = append(ops, op)
	}
	for len(ops) > 0 {
		err := q.s.host.Memory.Write(ctx, memory.Manner{Urgent: true}, ops...)
		conflict, ok := errors.AsType[*crdt.ConflictError](err)
		if !ok {
			return ids, len(ops), err
		}
		ops = slices.DeleteFunc(ops, func(op crdt.Op) bool { return op.Key == conflict.Key }) // it came meanwhile
	}
	return ids, 0, nil
}

// op makes the write that adds an item, and says what its id is.
func (q Queue) op(item *NewItem, id *string) (op crdt.Op, err error) {
	value, err := crdt.ValueOf(item.Value)
	if err == nil {
		op, *id, err = queue.Add(time.Now(), q.name, queue.Item{Value: value, Priority: item.Priority, Delay: item.Delay,
			ID: item.ID, MaxAttempts: item.MaxAttempts}, rand.Uint64())
	}
	return op, err
}

// known reports whether an id is taken.
func (x *index) known(id string) (known bool) {
	x.do(func(core *queue.Index, _ time.Time) { known = core.Known(id) })
	return known
}

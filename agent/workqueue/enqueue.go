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

// NewItem is an item to enqueue.
type NewItem struct {
	Value       any           // the encoded value and about 256 bytes of the item's own must fit in 1 MiB
	Priority    int           // items of greater priority are claimed first
	Delay       time.Duration // time before the item may be claimed, up to MaxDelay
	ID          string        // unique in the queue, up to MaxID bytes; a random one if empty
	MaxAttempts int           // number of attempts after which the item is dead; Config.MaxAttempts if zero
}

// EnqueueOption changes an item to enqueue.
type EnqueueOption func(*NewItem)

// WithPriority makes the item be claimed before items of lower priority; 0 is the default.
func WithPriority(n int) EnqueueOption { return func(i *NewItem) { i.Priority = n } }

// WithDelay keeps the item from being claimed for d, up to MaxDelay.
func WithDelay(d time.Duration) EnqueueOption { return func(i *NewItem) { i.Delay = d } }

// WithID sets the id of the item, up to MaxID bytes. An id can be enqueued once only: it is taken as long
// as its item exists, and for Config.Retention after its completion. If peers on both sides of a network
// partition enqueue the same id, there is one item in the end, with the value of the later write.
func WithID(id string) EnqueueOption { return func(i *NewItem) { i.ID = id } }

// WithMaxAttempts sets the number of attempts after which the item is dead.
func WithMaxAttempts(n int) EnqueueOption { return func(i *NewItem) { i.MaxAttempts = n } }

// Enqueue adds an item, and returns its id. The item is at this peer when Enqueue returns;
// Agent.WaitReplicated waits until other peers have it too. Enqueue fails with ErrDuplicate, ErrDraining
// and ErrFull, and with the errors of Agent.Put.
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

// EnqueueAll adds items and returns their ids. Up to crdt.MaxOps items, 1,024, are one batch: all of them
// are added or none. If it fails for more items, the ids of those that were added are returned. Items
// whose ids are taken are skipped; if all are, EnqueueAll fails with ErrDuplicate.
func (q Queue) EnqueueAll(ctx context.Context, items []NewItem) (ids []string, err error) {
	x, err := q.indexToWrite()
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

// unit adds items in one write. It returns the ids of all, and how many of them were not taken.
func (q Queue) unit(ctx context.Context, x *index, items []NewItem) (ids []string, fresh int, err error) {
	ids = make([]string, len(items))
	ops := make([]crdt.Op, 0, len(items))
	seen := make(map[string]bool)
	for i := range items {
		op, err := q.op(&items[i], &ids[i])
		if err != nil {
			return nil, 0, fmt.Errorf("item %d: %w", i+1, err)
		}
		if op.If != nil { // the caller has given the id, which may be taken
			if seen[ids[i]] || x.taken(ids[i]) {
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
		ops = slices.DeleteFunc(ops, func(op crdt.Op) bool { return op.Key == conflict.Key }) // an item with this id has arrived meanwhile
	}
	return ids, 0, nil
}

// op returns the write that adds an item, and stores the item's id in *id.
func (q Queue) op(item *NewItem, id *string) (op crdt.Op, err error) {
	value, err := crdt.ValueOf(item.Value)
	if err == nil {
		op, *id, err = queue.Add(time.Now(), q.name, queue.Item{Value: value, Priority: item.Priority, Delay: item.Delay,
			ID: item.ID, MaxAttempts: item.MaxAttempts}, rand.Uint64())
	}
	return op, err
}

// taken reports whether an id is taken.
func (x *index) taken(id string) (taken bool) {
	x.do(func(core *queue.Index, _ time.Time) { taken = core.Known(id) })
	return taken
}

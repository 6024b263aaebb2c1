package queue

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// Errors of enqueuing.
var (
	ErrDraining  = errors.New("the queue takes no items: it is being drained")
	ErrQueueFull = errors.New("the queue is full")
)

// Item is an item to be enqueued.
type Item struct {
	Value       crdt.Value
	Priority    int           // a higher one is claimed first
	Delay       time.Duration // 0 to MaxDelay
	ID          string        // 1 to MaxID bytes; "" has Add make one
	MaxAttempts int           // 0 for that of the queue
}

// Add returns the write that adds an item, and the item's id. If the item has none, the id is made
// from now and random. An item with an id is written only if its key is absent (Q6). Errors
// say which field of item is out of range.
func Add(now time.Time, queue string, item Item, random uint64) (op crdt.Op, id string, err error) {
	if item.Delay < 0 || item.Delay > MaxDelay {
		return op, "", fmt.Errorf("delay %v: want 0 to %v", item.Delay, MaxDelay)
	}
	if item.MaxAttempts < 0 {
		return op, "", fmt.Errorf("%d attempts: want 1 or more", item.MaxAttempts)
	}
	if item.Value.IsZero() {
		return op, "", crdt.ErrAbsent
	}
	rec := itemRecord{Value: item.Value, Priority: item.Priority, MaxAttempts: item.MaxAttempts}
	if item.Delay > 0 {
		rec.NotBefore = now.Add(item.Delay).UnixMilli()
	}
	op = crdt.Op{Verb: crdt.Put, Kind: crdt.Register}
	if id = item.ID; id == "" {
		id = fmt.Sprintf("%012x%016x", now.UnixMilli(), random)
	} else {
		op.If = new(crdt.Version) // only if it is absent
		err = CheckID(id)
	}
	op.Key = ItemKey(queue, id)
	if err == nil {
		op.Value, err = rec.value()
	}
	return op, id, err
}

// Admit returns nil if n items may be enqueued, and else ErrDraining or ErrQueueFull.
func (x *Index) Admit(n int) error {
	if x.setting.Draining {
		return ErrDraining
	}
	if have := len(x.entries) - x.count[Done]; have+n > x.cfg.MaxItems {
		return fmt.Errorf("%w: it has %d items, of at most %d", ErrQueueFull, have, x.cfg.MaxItems)
	}
	return nil
}

// Known reports whether an id is taken (Q6).
func (x *Index) Known(id string) bool {
	e := x.entries[id]
	return e != nil && (e.present || e.verdict == done)
}

// Purge returns, for each item in one of the states, the writes that remove it. It leaves out items
// that this peer is claiming.
func (x *Index) Purge(states []State) [][]crdt.Op {
	return x.each(func(e *entry) bool { return slices.Contains(states, e.state) && !e.mine }, func(e *entry) (ops []crdt.Op) {
		if e.verdict != unclaimed {
			ops = append(ops, crdt.Op{Verb: crdt.Delete, Key: ClaimKey(x.cfg.Name, e.id, e.token)})
		}
		return append(ops, crdt.Op{Verb: crdt.Delete, Key: ItemKey(x.cfg.Name, e.id)})
	})
}

// Requeue returns, for each dead item with one of these ids, or for every dead item if ids is empty,
// the write that makes it pending with no attempt counted.
func (x *Index) Requeue(ids []string) [][]crdt.Op {
	return x.each(func(e *entry) bool { return e.state == Dead && (len(ids) == 0 || slices.Contains(ids, e.id)) }, func(e *entry) []crdt.Op {
		v, _ := crdt.ValueOf(claimRecord{State: requeued.String(), Worker: x.cfg.Self}) // strings always encode
		return []crdt.Op{{Verb: crdt.Put, Kind: crdt.Register, Key: ClaimKey(x.cfg.Name, e.id, e.token), Value: v}}
	})
}

// each returns, in the order of the ids, what change returns for each entry that want selects.
func (x *Index) each(want func(*entry) bool, change func(*entry) []crdt.Op) (list [][]crdt.Op) {
	var ids []string
	for id, e := range x.entries { // sorted below
		if want(e) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		list = append(list, change(x.entries[id]))
	}
	return list
}

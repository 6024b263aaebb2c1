package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/memory"
	"github.com/sentinel-peer/sentinel-peer/internal/queue"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// Errors of work queues, to compare with errors.Is.
var (
	ErrDuplicate = errors.New("an item with this id was enqueued before")
	ErrClaimLost = errors.New("the claim is not valid any more")
	ErrDraining  = queue.ErrDraining
	ErrQueueFull = queue.ErrQueueFull
)

// QueueConfig bounds work queues.
type QueueConfig struct {
	MaxItems    int           // pending, delayed, claimed and dead in one queue, as this peer sees it: 1,048,576
	MaxAttempts int           // of an item enqueued without WithMaxAttempts, before it is dead: 5
	Retention   time.Duration // how long a result is kept, and an id taken: one hour
}

// Limits of work queues.
const (
	MaxQueueName  = queue.MaxName  // bytes of a queue's name: 64
	MaxItemID     = queue.MaxID    // bytes of an item's id: 128
	MaxItemDelay  = queue.MaxDelay // of an item, and of a retry: 24 h
	MaxClaimBatch = 256            // items of one claim
)

// ItemState is where an item of a work queue is.
type ItemState string

// The states of an item.
const (
	ItemPending = ItemState(queue.Pending) // may be claimed
	ItemDelayed = ItemState(queue.Delayed) // may be claimed later
	ItemClaimed = ItemState(queue.Claimed) // a worker has it, as far as this peer has heard
	ItemDone    = ItemState(queue.Done)    // its result is kept for a while, and its id is taken
	ItemDead    = ItemState(queue.Dead)    // failed too often; see WorkQueue.Requeue
)

// WorkQueue is a queue whose items are claimed: by one worker at a time, for as long as
// its lease lasts. With a majority of voters reachable an item is claimed by one worker
// at a time, and a stale worker's Complete is refused by its token: execution is at
// least once, valid completion at most once. Without a majority Enqueue and Peek go on,
// and Claim fails with lockservice.ErrUnavailable. Make one with Agent.WorkQueue.
//
// Items are ordered by priority, and within one by the clock: an item enqueued after
// another was seen at its peer comes after it; two enqueued independently, as the clocks
// of their peers stood. Peers that claim at the same time each begin at the head.
type WorkQueue struct {
	a    *Agent
	name string
}

// WorkQueue returns a handle on the work queue of that name: one segment of a key, up to
// 64 bytes. It exists once something was enqueued.
func (a *Agent) WorkQueue(name string) WorkQueue { return WorkQueue{a, name} }

// WorkQueues returns the names of the queues this peer knows, sorted.
func (a *Agent) WorkQueues() []string {
	a.queues.catchUp(context.Background())
	return a.queues.names()
}

// QueueDepth counts the items of a queue by state, as far as this peer has heard.
type QueueDepth struct {
	Pending  int  `json:"pending"`
	Delayed  int  `json:"delayed"`
	Claimed  int  `json:"claimed"`
	Done     int  `json:"done"` // whose results are kept
	Dead     int  `json:"dead"`
	Paused   bool `json:"paused,omitempty"`
	Draining bool `json:"draining,omitempty"`
}

// QueueCounters count what this peer did with a queue.
type QueueCounters struct {
	Enqueued  uint64 `json:"enqueued"`
	Claimed   uint64 `json:"claimed"`
	Completed uint64 `json:"completed"`
	Failed    uint64 `json:"failed"`
	Dead      uint64 `json:"dead"`
	Lost      uint64 `json:"lost"`      // claims that ended before they were finished
	Contended uint64 `json:"contended"` // tries for items that another peer had
}

// QueueStats is a reading of one queue at this peer.
type QueueStats struct {
	Depth QueueDepth `json:"depth"`
	QueueCounters
}

// open returns what is known of a queue before a write to it: nothing yet, of one that is
// not known, which only a write that succeeds makes.
func (q WorkQueue) open() (*index, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	if x := q.a.queues.known(q.name); x != nil {
		return x, nil
	}
	return q.a.newIndex(q.name), nil
}

// look is open for a reader, who sees what was written here before: nil for a queue that is
// not known.
func (q WorkQueue) look() (*index, error) {
	q.a.queues.catchUp(context.Background())
	if err := q.check(); err != nil {
		return nil, err
	}
	return q.a.queues.known(q.name), nil
}

func (q WorkQueue) check() error {
	if err := queue.CheckName(q.name); err != nil {
		return err
	}
	if q.a.mem.Closed() {
		return ErrClosed
	}
	return nil
}

// Name returns the queue's name.
func (q WorkQueue) Name() string { return q.name }

// Item is an item as Peek shows it.
type Item struct {
	ID       string     `json:"id"`
	Value    crdt.Value `json:"value,omitzero"` // gone when it is done
	Priority int        `json:"priority,omitempty"`
	Attempt  int        `json:"attempt,omitempty"` // how often it was tried
	Enqueued time.Time  `json:"enqueued"`
	Error    string     `json:"error,omitempty"`  // of the last attempt
	Worker   string     `json:"worker,omitempty"` // the peer through which it was claimed last
	Claimed  time.Time  `json:"claimed,omitzero"` // when that was
	Result   crdt.Value `json:"result,omitzero"`  // of what is done
	State    ItemState  `json:"state"`
}

// Peek returns the first n items that may be claimed, in order, and claims none.
func (q WorkQueue) Peek(n int) ([]Item, error) {
	list := []Item{}
	x, err := q.look()
	if x == nil {
		return list, err
	}
	var views []queue.View
	x.do(func(core *queue.Index, now time.Time) { views = core.Peek(now, min(n, 1000)) })
	for _, v := range views {
		list = append(list, q.show(v))
	}
	return list, nil
}

// Survey returns up to n items that are claimed and n that are dead, of each those that
// were enqueued first, and when the oldest item that waits was enqueued; zero if none
// does. It walks all items.
func (q WorkQueue) Survey(n int) (claimed, dead []Item, oldest time.Time, err error) {
	x, err := q.look()
	if x == nil {
		return nil, nil, oldest, err
	}
	var held, lost []queue.View
	x.do(func(core *queue.Index, now time.Time) { held, lost, oldest = core.Survey(now, min(n, 1000)) })
	for _, v := range held {
		claimed = append(claimed, q.show(v))
	}
	for _, v := range lost {
		dead = append(dead, q.show(v))
	}
	return claimed, dead, oldest, nil
}

// Get returns an item in whatever state, ErrNotFound if there is none of that id.
func (q WorkQueue) Get(id string) (Item, error) {
	x, err := q.look()
	if err != nil {
		return Item{}, err
	}
	var v queue.View
	found := false
	if x != nil {
		x.do(func(core *queue.Index, now time.Time) { v, found = core.Look(now, id) })
	}
	if !found {
		return Item{}, fmt.Errorf("queue %q: item %q: %w", q.name, id, ErrNotFound)
	}
	return q.show(v), nil
}

func (q WorkQueue) show(v queue.View) Item {
	item := Item{ID: v.ID, Priority: v.Priority, Attempt: v.Attempt, Enqueued: v.Enqueued, Error: v.Error, Worker: v.Worker, State: ItemState(v.State)}
	if v.Token != 0 {
		item.Claimed = lockservice.TokenTime(v.Token).UTC()
	}
	if e, ok := q.a.mem.Peek(queue.ItemKey(q.name, v.ID)); ok {
		item.Value = e.Field("value")
	}
	if v.State == queue.Done {
		if e, ok := q.a.mem.Peek(queue.ClaimKey(q.name, v.ID, v.Token)); ok {
			item.Result = e.Field("result")
		}
	}
	return item
}

// Depth counts the items by state.
func (q WorkQueue) Depth() (QueueDepth, error) {
	x, err := q.look()
	if x == nil {
		return QueueDepth{}, err
	}
	return x.depth(), nil
}

// Pause keeps items from being claimed, at every peer once it has heard, until Resume.
// Claims that run go on.
func (q WorkQueue) Pause(ctx context.Context) error {
	return q.set(ctx, func(s *queue.Setting) { s.Paused = true })
}

// Resume ends Pause and Drain.
func (q WorkQueue) Resume(ctx context.Context) error {
	return q.set(ctx, func(s *queue.Setting) { *s = queue.Setting{} })
}

func (q WorkQueue) set(ctx context.Context, f func(*queue.Setting)) error {
	x, err := q.open()
	if err != nil {
		return err
	}
	var s queue.Setting
	x.do(func(core *queue.Index, _ time.Time) { s = core.Setting() })
	f(&s)
	if err := q.a.Put(ctx, queue.SettingKey(q.name), s, WithKind(crdt.Register), Urgent()); err != nil {
		return err
	}
	q.a.index(q.name).do(func(core *queue.Index, _ time.Time) { core.Set(s) }) // for calls that come before the loop does
	return nil
}

// Drain has the queue take no more items, at every peer once it has heard, until Resume;
// and waits, within ctx, until none here is pending, delayed or claimed.
func (q WorkQueue) Drain(ctx context.Context) error {
	if err := q.set(ctx, func(s *queue.Setting) { s.Draining = true }); err != nil {
		return err
	}
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for {
		d, err := q.Depth()
		if err != nil || d.Pending+d.Delayed+d.Claimed == 0 {
			return err
		}
		select {
		case <-look.C:
		case <-q.a.mem.Closing():
			return ErrClosed
		case <-ctx.Done():
			return fmt.Errorf("queue %q: %d items are left: %w", q.name, d.Pending+d.Delayed+d.Claimed, ctx.Err())
		}
	}
}

// Purge removes the items in the given states that are known here, pending, delayed and
// dead ones if none is given, and returns how many. What is claimed is not removed. To
// purge what is done frees the ids: an item of that name that is still under way to
// some peer may then be claimed again.
func (q WorkQueue) Purge(ctx context.Context, states ...ItemState) (int, error) {
	if len(states) == 0 {
		states = []ItemState{ItemPending, ItemDelayed, ItemDead}
	}
	if slices.Contains(states, ItemClaimed) {
		return 0, errors.New("purge: what is claimed is its worker's to finish")
	}
	list := make([]queue.State, len(states))
	for i, s := range states {
		list[i] = queue.State(s)
	}
	return q.change(ctx, func(core *queue.Index) [][]crdt.Op { return core.Purge(list) })
}

// Requeue has dead items tried again, from their first attempt: those of these ids, all
// if none is given. It returns how many.
func (q WorkQueue) Requeue(ctx context.Context, ids ...string) (int, error) {
	return q.change(ctx, func(core *queue.Index) [][]crdt.Op { return core.Requeue(ids) })
}

// change makes the writes that change items, and returns of how many.
func (q WorkQueue) change(ctx context.Context, what func(core *queue.Index) [][]crdt.Op) (n int, err error) {
	x, err := q.look()
	if x == nil {
		return 0, err
	}
	var list [][]crdt.Op
	x.do(func(core *queue.Index, _ time.Time) { list = what(core) })
	for some := range slices.Chunk(list, crdt.MaxOps/2) { // up to two writes each
		if err := q.a.mem.Write(ctx, memory.Manner{Urgent: true}, slices.Concat(some...)...); err != nil {
			return n, fmt.Errorf("queue %q: %w", q.name, err)
		}
		n += len(some)
	}
	return n, nil
}

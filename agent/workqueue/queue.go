package workqueue

import (
	"cmp"
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
	ErrFull      = queue.ErrQueueFull
)

// Config bounds work queues.
type Config struct {
	MaxItems    int           // pending, delayed, claimed and dead in one queue, as this peer sees it: 1,048,576
	MaxAttempts int           // of an item enqueued without WithMaxAttempts, before it is dead: 5
	Retention   time.Duration // how long a result is kept, and an id taken: one hour
}

func (c Config) withDefaults() Config {
	return Config{cmp.Or(c.MaxItems, 1<<20), cmp.Or(c.MaxAttempts, 5), cmp.Or(c.Retention, time.Hour)}
}

// Validate returns what is wrong with c.
func (c Config) Validate() error {
	if c = c.withDefaults(); c.MaxItems < 1 || c.MaxAttempts < 1 || c.Retention < time.Minute {
		return fmt.Errorf("queues: %d items, %d attempts, retention %v: want one of each or more, and a minute or more", c.MaxItems, c.MaxAttempts, c.Retention)
	}
	return nil
}

// Limits of work queues.
const (
	MaxName  = queue.MaxName  // bytes of a queue's name: 64
	MaxID    = queue.MaxID    // bytes of an item's id: 128
	MaxDelay = queue.MaxDelay // of an item, and of a retry: 24 h
	MaxBatch = 256            // items of one claim
)

// State is where an item of a work queue is.
type State string

// The states of an item.
const (
	Pending = State(queue.Pending) // may be claimed
	Delayed = State(queue.Delayed) // may be claimed later
	Claimed = State(queue.Claimed) // a worker has it, as far as this peer has heard
	Done    = State(queue.Done)    // its result is kept for a while, and its id is taken
	Dead    = State(queue.Dead)    // failed too often; see Queue.Requeue
)

// Queue is a queue whose items are claimed: by one worker at a time, for as long as
// its lease lasts. With a majority of voters reachable an item is claimed by one worker
// at a time, and a stale worker's Complete is refused by its token: execution is at
// least once, valid completion at most once. Without a majority Enqueue and Peek go on,
// and Claim fails with lockservice.ErrUnavailable. Make one with Agent.WorkQueue.
//
// Items are ordered by priority, and within one by the clock: an item enqueued after
// another was seen at its peer comes after it; two enqueued independently, as the clocks
// of their peers stood. Peers that claim at the same time each begin at the head.
type Queue struct {
	s    *Queues
	name string
}

// Depth counts the items of a queue by state, as far as this peer has heard.
type Depth struct {
	Pending  int  `json:"pending"`
	Delayed  int  `json:"delayed"`
	Claimed  int  `json:"claimed"`
	Done     int  `json:"done"` // whose results are kept
	Dead     int  `json:"dead"`
	Paused   bool `json:"paused,omitempty"`
	Draining bool `json:"draining,omitempty"`
}

// Counters count what this peer did with a queue.
type Counters struct {
	Enqueued  uint64 `json:"enqueued"`
	Claimed   uint64 `json:"claimed"`
	Completed uint64 `json:"completed"`
	Failed    uint64 `json:"failed"`
	Dead      uint64 `json:"dead"`
	Lost      uint64 `json:"lost"`      // claims that ended before they were finished
	Lapsed    uint64 `json:"lapsed"`    // claims WithManualExtend whose lease ended here: they may have been extended or finished at another peer
	Contended uint64 `json:"contended"` // tries for items that another peer had
}

// Stats is a reading of one queue at this peer.
type Stats struct {
	Depth Depth `json:"depth"`
	Counters
}

// open returns what is known of a queue before a write to it: nothing yet, of one that is
// not known, which only a write that succeeds makes.
func (q Queue) open() (*index, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	if x := q.s.known(q.name); x != nil {
		return x, nil
	}
	return q.s.newIndex(q.name), nil
}

// look is open for a reader, who sees what was written here before: nil for a queue that is
// not known.
func (q Queue) look() (*index, error) {
	q.s.catchUp(context.Background())
	if err := q.check(); err != nil {
		return nil, err
	}
	return q.s.known(q.name), nil
}

func (q Queue) check() error {
	if err := queue.CheckName(q.name); err != nil {
		return err
	}
	if q.s.host.Memory.Closed() {
		return memory.ErrClosed
	}
	return nil
}

// Name returns the queue's name.
func (q Queue) Name() string { return q.name }

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
	State    State      `json:"state"`
}

// Peek returns the first n items that may be claimed, in order, and claims none.
func (q Queue) Peek(n int) ([]Item, error) {
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
func (q Queue) Survey(n int) (claimed, dead []Item, oldest time.Time, err error) {
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

// Get returns an item in whatever state, memory.ErrNotFound if there is none of that id.
func (q Queue) Get(id string) (Item, error) {
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
		return Item{}, fmt.Errorf("queue %q: item %q: %w", q.name, id, memory.ErrNotFound)
	}
	return q.show(v), nil
}

func (q Queue) show(v queue.View) Item {
	item := Item{ID: v.ID, Priority: v.Priority, Attempt: v.Attempt, Enqueued: v.Enqueued, Error: v.Error, Worker: v.Worker, State: State(v.State)}
	if v.Token != 0 {
		item.Claimed = lockservice.TokenTime(v.Token).UTC()
	}
	if e, ok := q.s.host.Memory.Peek(queue.ItemKey(q.name, v.ID)); ok {
		item.Value = e.Field("value")
	}
	if v.State == queue.Done {
		if e, ok := q.s.host.Memory.Peek(queue.ClaimKey(q.name, v.ID, v.Token)); ok {
			item.Result = e.Field("result")
		}
	}
	return item
}

// Depth counts the items by state.
func (q Queue) Depth() (Depth, error) {
	x, err := q.look()
	if x == nil {
		return Depth{}, err
	}
	return x.depth(), nil
}

// Pause keeps items from being claimed, at every peer once it has heard, until Resume.
// Claims that run go on.
func (q Queue) Pause(ctx context.Context) error {
	return q.set(ctx, func(s *queue.Setting) { s.Paused = true })
}

// Resume ends Pause and Drain.
func (q Queue) Resume(ctx context.Context) error {
	return q.set(ctx, func(s *queue.Setting) { *s = queue.Setting{} })
}

func (q Queue) set(ctx context.Context, f func(*queue.Setting)) error {
	x, err := q.open()
	if err != nil {
		return err
	}
	var s queue.Setting
	x.do(func(core *queue.Index, _ time.Time) { s = core.Setting() })
	f(&s)
	if err := q.s.host.Memory.Assign(ctx, crdt.Op{Verb: crdt.Put, Key: queue.SettingKey(q.name)}, s, []memory.Option{func(o *memory.Options) {
		o.Kind, o.Urgent = crdt.Register, true
	}}); err != nil {
		return err
	}
	q.s.index(q.name).do(func(core *queue.Index, _ time.Time) { core.Set(s) }) // for calls that come before the loop does
	return nil
}

// Drain has the queue take no more items, at every peer once it has heard, until Resume;
// and waits, within ctx, until none here is pending, delayed or claimed.
func (q Queue) Drain(ctx context.Context) error {
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
		case <-q.s.host.Memory.Closing():
			return memory.ErrClosed
		case <-ctx.Done():
			return fmt.Errorf("queue %q: %d items are left: %w", q.name, d.Pending+d.Delayed+d.Claimed, ctx.Err())
		}
	}
}

// Purge removes the items in the given states that are known here, pending, delayed and
// dead ones if none is given, and returns how many. What is claimed is not removed. To
// purge what is done frees the ids: an item of that name that is still under way to
// some peer may then be claimed again.
func (q Queue) Purge(ctx context.Context, states ...State) (int, error) {
	if len(states) == 0 {
		states = []State{Pending, Delayed, Dead}
	}
	if slices.Contains(states, Claimed) {
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
func (q Queue) Requeue(ctx context.Context, ids ...string) (int, error) {
	return q.change(ctx, func(core *queue.Index) [][]crdt.Op { return core.Requeue(ids) })
}

// change makes the writes that change items, and returns of how many.
func (q Queue) change(ctx context.Context, what func(core *queue.Index) [][]crdt.Op) (n int, err error) {
	x, err := q.look()
	if x == nil {
		return 0, err
	}
	var list [][]crdt.Op
	x.do(func(core *queue.Index, _ time.Time) { list = what(core) })
	for some := range slices.Chunk(list, crdt.MaxOps/2) { // up to two writes each
		if err := q.s.host.Memory.Write(ctx, memory.Manner{Urgent: true}, slices.Concat(some...)...); err != nil {
			return n, fmt.Errorf("queue %q: %w", q.name, err)
		}
		n += len(some)
	}
	return n, nil
}

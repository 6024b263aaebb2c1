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
	ErrDuplicate = errors.New("an item with this id was enqueued before") // every id of an Enqueue is taken
	ErrClaimLost = errors.New("the claim is not valid any more")          // the lease ended, or another call has ended the claim
	ErrDraining  = queue.ErrDraining                                      // Enqueue into a queue that drains
	ErrFull      = queue.ErrQueueFull                                     // Enqueue beyond Config.MaxItems
)

// Config bounds work queues. The comment of each field gives its default, which replaces zero.
type Config struct {
	MaxItems    int           // greatest number of pending, delayed, claimed and dead items of a queue at this peer: 1,048,576
	MaxAttempts int           // attempts after which an item enqueued without WithMaxAttempts is dead: 5
	Retention   time.Duration // how long a result is kept and its id is taken: one hour; at least one minute
}

func (c Config) withDefaults() Config {
	return Config{cmp.Or(c.MaxItems, 1<<20), cmp.Or(c.MaxAttempts, 5), cmp.Or(c.Retention, time.Hour)}
}

// Validate fails if a field is out of its bounds.
func (c Config) Validate() error {
	if c = c.withDefaults(); c.MaxItems < 1 || c.MaxAttempts < 1 || c.Retention < time.Minute {
		return fmt.Errorf("queues: %d items, %d attempts, retention %v: want one of each or more, and a minute or more", c.MaxItems, c.MaxAttempts, c.Retention)
	}
	return nil
}

// Limits of work queues.
const (
	MaxName  = queue.MaxName  // greatest length of a queue's name: 64 bytes
	MaxID    = queue.MaxID    // greatest length of an item's id: 128 bytes
	MaxDelay = queue.MaxDelay // greatest delay of an item, and of a retry: 24 h
	MaxBatch = 256            // greatest number of items in one ClaimBatch
)

// State is the state of an item, as far as this peer knows.
type State string

// The states of an item.
const (
	Pending = State(queue.Pending) // the item may be claimed
	Delayed = State(queue.Delayed) // the item may be claimed later
	Claimed = State(queue.Claimed) // a worker has the item
	Done    = State(queue.Done)    // the item's result is kept for Config.Retention, and its id is taken
	Dead    = State(queue.Dead)    // the item failed too often; it stays until Queue.Requeue or Queue.Purge
)

// Queue is a handle on a work queue. Agent.WorkQueue returns it.
//
// While a majority of the voters is reachable, one worker at a time has the claim of an item. Work is done
// at least once and completed validly at most once, since the Complete of a worker whose claim was lost is
// refused. Without a majority Enqueue and Peek still work, and Claim fails with lockservice.ErrUnavailable.
//
// Items are claimed in the order of their priority, greater first. Within a priority, an item that was
// enqueued at a peer that knew another item comes after that item; items that were enqueued independently
// are ordered by the clocks of their peers. The order is not strict, since several peers claim at once.
type Queue struct {
	s    *Queues
	name string
}

// Depth has the number of items in each state, as far as this peer knows.
type Depth struct {
	Pending  int  `json:"pending"`
	Delayed  int  `json:"delayed"`
	Claimed  int  `json:"claimed"`
	Done     int  `json:"done"` // items whose results are kept
	Dead     int  `json:"dead"`
	Paused   bool `json:"paused,omitempty"`   // Pause is in force
	Draining bool `json:"draining,omitempty"` // Drain is in force
}

// Counters count what was done to a queue through this peer since it started.
type Counters struct {
	Enqueued  uint64 `json:"enqueued"`
	Claimed   uint64 `json:"claimed"`
	Completed uint64 `json:"completed"`
	Failed    uint64 `json:"failed"`
	Dead      uint64 `json:"dead"`
	Lost      uint64 `json:"lost"`      // claims that ended before they were finished
	Lapsed    uint64 `json:"lapsed"`    // claims WithBearer whose lease ended here; they may have gone on at another peer
	Contended uint64 `json:"contended"` // leases that were refused because another peer held them
}

// Stats is a reading of one queue at this peer.
type Stats struct {
	Depth Depth `json:"depth"`
	Counters
}

// indexToWrite returns the index of the queue for a call that writes. For a queue that is not known it
// returns an empty index that is not kept: only a write that succeeds makes the queue known.
func (q Queue) indexToWrite() (*index, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	if x := q.s.lookup(q.name); x != nil {
		return x, nil
	}
	return q.s.newIndex(q.name), nil
}

// indexToRead returns the index of the queue for a call that reads, after the index has taken every earlier
// write of this peer. It returns nil for a queue that is not known.
func (q Queue) indexToRead() (*index, error) {
	q.s.catchUp(context.Background())
	if err := q.check(); err != nil {
		return nil, err
	}
	return q.s.lookup(q.name), nil
}

// check fails if the queue's name is not valid or the agent is closed.
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

// Item is an item as this peer sees it.
type Item struct {
	ID       string     `json:"id"`
	Value    crdt.Value `json:"value,omitzero"` // removed when the item is done
	Priority int        `json:"priority,omitempty"`
	Attempt  int        `json:"attempt,omitempty"` // number of attempts so far
	Enqueued time.Time  `json:"enqueued"`
	Error    string     `json:"error,omitempty"`  // error of the last attempt
	Worker   string     `json:"worker,omitempty"` // name of the peer through which it was claimed last
	Claimed  time.Time  `json:"claimed,omitzero"` // time of the last claim
	Result   crdt.Value `json:"result,omitzero"`  // result of an item that is done
	State    State      `json:"state"`
}

// Peek returns the first n items that may be claimed, in order, without claiming them; 1,000 at most.
func (q Queue) Peek(n int) ([]Item, error) {
	list := []Item{}
	x, err := q.indexToRead()
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

// Survey returns the claimed items and the dead items, up to n of each, with n at most 1,000: those that
// were enqueued first. oldest is the time at which the oldest pending item was enqueued, zero if none is
// pending. Survey walks all items.
func (q Queue) Survey(n int) (claimed, dead []Item, oldest time.Time, err error) {
	x, err := q.indexToRead()
	if x == nil {
		return nil, nil, oldest, err
	}
	var claimedViews, deadViews []queue.View
	x.do(func(core *queue.Index, now time.Time) {
		claimedViews, deadViews, oldest = core.Survey(now, min(n, 1000))
	})
	for _, v := range claimedViews {
		claimed = append(claimed, q.show(v))
	}
	for _, v := range deadViews {
		dead = append(dead, q.show(v))
	}
	return claimed, dead, oldest, nil
}

// Get returns the item with this id, in any state. It fails with agent.ErrNotFound if there is none.
func (q Queue) Get(id string) (Item, error) {
	x, err := q.indexToRead()
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

// show returns the item of a view, with the value and the result that the memory has.
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

// Depth returns the number of items in each state; zero for a queue that is not known.
func (q Queue) Depth() (Depth, error) {
	x, err := q.indexToRead()
	if x == nil {
		return Depth{}, err
	}
	return x.depth(), nil
}

// Pause keeps items from being claimed until Resume, at each peer from the moment when the setting has
// arrived there. Claims that exist are not affected.
func (q Queue) Pause(ctx context.Context) error {
	return q.set(ctx, func(s *queue.Setting) { s.Paused = true })
}

// Resume ends Pause and Drain, at each peer from the moment when the setting has arrived there.
func (q Queue) Resume(ctx context.Context) error {
	return q.set(ctx, func(s *queue.Setting) { *s = queue.Setting{} })
}

// set changes the setting of the queue by f.
func (q Queue) set(ctx context.Context, f func(*queue.Setting)) error {
	x, err := q.indexToWrite()
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
	q.s.index(q.name).do(func(core *queue.Index, _ time.Time) { core.Set(s) }) // so that later calls see it before the loop has passed the write on
	return nil
}

// Drain makes Enqueue fail with ErrDraining until Resume, at each peer from the moment when the setting has
// arrived there. Then it waits, within ctx, until no item is pending, delayed or claimed as far as this peer
// knows.
func (q Queue) Drain(ctx context.Context) error {
	if err := q.set(ctx, func(s *queue.Setting) { s.Draining = true }); err != nil {
		return err
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		d, err := q.Depth()
		if err != nil || d.Pending+d.Delayed+d.Claimed == 0 {
			return err
		}
		select {
		case <-tick.C:
		case <-q.s.host.Memory.Closing():
			return memory.ErrClosed
		case <-ctx.Done():
			return fmt.Errorf("queue %q: %d items are left: %w", q.name, d.Pending+d.Delayed+d.Claimed, ctx.Err())
		}
	}
}

// Purge removes the items that this peer knows in any of states, and returns how many it removed. Without
// states it removes pending, delayed and dead items. It fails for Claimed. Purging Done items frees their
// ids; if the enqueuing write of such an item has not reached some peer yet, the item may be claimed there
// once more.
func (q Queue) Purge(ctx context.Context, states ...State) (int, error) {
	if len(states) == 0 {
		states = []State{Pending, Delayed, Dead}
	}
	if slices.Contains(states, Claimed) {
		return 0, errors.New("purge: claimed items cannot be purged; their workers finish them")
	}
	list := make([]queue.State, len(states))
	for i, s := range states {
		list[i] = queue.State(s)
	}
	return q.change(ctx, func(core *queue.Index) [][]crdt.Op { return core.Purge(list) })
}

// Requeue makes dead items pending again, with all of their attempts, and returns how many there were. ids
// selects the items; without ids all dead items are requeued.
func (q Queue) Requeue(ctx context.Context, ids ...string) (int, error) {
	return q.change(ctx, func(core *queue.Index) [][]crdt.Op { return core.Requeue(ids) })
}

// change makes the writes that plan returns, a list of operations for each item, and returns the number of
// items.
func (q Queue) change(ctx context.Context, plan func(core *queue.Index) [][]crdt.Op) (n int, err error) {
	x, err := q.indexToRead()
	if x == nil {
		return 0, err
	}
	var list [][]crdt.Op
	x.do(func(core *queue.Index, _ time.Time) { list = plan(core) })
	for some := range slices.Chunk(list, crdt.MaxOps/2) { // an item takes up to two operations
		if err := q.s.host.Memory.Write(ctx, memory.Manner{Urgent: true}, slices.Concat(some...)...); err != nil {
			return n, fmt.Errorf("queue %q: %w", q.name, err)
		}
		n += len(some)
	}
	return n, nil
}

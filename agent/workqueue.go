package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// Errors of work queues, to compare with errors.Is.
var (
	ErrDuplicate = errors.New("an item with this id was enqueued before")
	ErrClaimLost = errors.New("the claim is not valid any more")
	ErrDraining  = errors.New("the queue takes no items: it is being drained")
	ErrQueueFull = errors.New("the queue is full")
)

// QueueConfig bounds work queues.
type QueueConfig struct {
	MaxItems    int           // pending, delayed, claimed and dead in one queue, as this peer sees it: 1,048,576
	MaxAttempts int           // of an item enqueued without WithMaxAttempts, before it is dead: 5
	Retention   time.Duration // how long a result is kept, and an id taken: one hour
}

const (
	retryBase  = time.Second     // before the second attempt; doubled each time
	retryMost  = 5 * time.Minute // and no longer
	claimsKept = 7 * 24 * time.Hour
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
func (a *Agent) WorkQueues() []string { return a.queues.names() }

// NewItem is something to be enqueued.
type NewItem struct {
	Value       any           // up to 1 MiB encoded, with 256 bytes for the rest of the item
	Priority    int           // greater comes first
	Delay       time.Duration // before it may be claimed; up to 24 h
	ID          string        // taken once per queue; made up if empty
	MaxAttempts int           // before it is dead; QueueConfig.MaxAttempts if zero
}

// EnqueueOption changes an item.
type EnqueueOption func(*NewItem)

// WithPriority has an item claimed before those of lower priority; 0 is the default.
func WithPriority(n int) EnqueueOption { return func(i *NewItem) { i.Priority = n } }

// WithDelay keeps an item from being claimed for a while.
func WithDelay(d time.Duration) EnqueueOption { return func(i *NewItem) { i.Delay = d } }

// WithItemID names an item, so that it is enqueued once however often that is tried: for
// as long as it is there, and QueueConfig.Retention longer. Two sides of a cut that
// enqueue one id enqueue one item, with the value of the later.
func WithItemID(id string) EnqueueOption { return func(i *NewItem) { i.ID = id } }

// WithMaxAttempts says how often an item is tried before it is dead.
func WithMaxAttempts(n int) EnqueueOption { return func(i *NewItem) { i.MaxAttempts = n } }

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

// queues is the work queues of a peer.
type queues struct {
	all    sync.Map    // of *index, by name
	synced atomic.Bool // this peer has heard from another what there is

	mu     sync.Mutex // guards what follows
	closed bool
	waits  []*verdictWrite // to be written by the finisher
	busy   bool            // the finisher runs
}

func (q *queues) names() []string {
	var list []string
	q.all.Range(func(name, _ any) bool {
		list = append(list, name.(string))
		return true
	})
	slices.Sort(list)
	return list
}

// index returns what is known of a queue, made if need be.
func (a *Agent) index(name string) *index {
	if x, ok := a.queues.all.Load(name); ok {
		return x.(*index)
	}
	x, _ := a.queues.all.LoadOrStore(name, newIndex(name, a.cfg.Name, a.locks.alive))
	return x.(*index)
}

// alive reports whether a peer of that name is up.
func (l *locks) alive(name string) bool { return (*l.ids.Load())[name] != "" }

// changed feeds the indexes. Only the loop calls it, before anything that was received
// is acknowledged: what this peer has acknowledged it knows.
func (q *queues) changed(a *Agent, changes []crdt.Change) {
	for i := range changes {
		c := &changes[i]
		k, ok := parseWorkKey(c.Key)
		if !ok || c.Cause == crdt.CauseConflict || c.Lazy {
			continue
		}
		switch x := a.index(k.queue); k.part {
		case itemsPart:
			var head itemHead
			ok := !c.New.IsZero() && c.New.Decode(&head) == nil
			x.item(k.id, ok, head, c.Stamp)
		case claimsPart:
			x.readClaim(k, c.New)
		case settingPart:
			x.set(c.New)
		}
	}
}

func (x *index) readClaim(k workKey, value crdt.Value) {
	var c claimHead
	if value.IsZero() {
		x.unjudge(k.id, k.token)
		return
	}
	if value.Decode(&c) != nil {
		return
	}
	if v := verdict(slices.Index(verdictNames, c.State)); v > unclaimed && int(v) < len(verdictNames) {
		x.judge(k.id, k.token, v, c)
	}
}

func (x *index) set(value crdt.Value) {
	var s queueSetting
	if !value.IsZero() {
		_ = value.Decode(&s) // what is no setting sets nothing
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.setting = s
	x.wake()
}

// barred is asked by the voter here, with every round for a lock: an item that is done
// or dead is claimed no more, and one that failed not before its time, though the
// claimer may not have heard of it. A voter that has not heard what there is certifies
// no claim.
func (a *Agent) barred(lock string, token uint64) bool {
	name, id, ok := parseItemLock(lock)
	if !ok {
		return false
	}
	if !a.queues.synced.Load() {
		return true
	}
	x, ok := a.queues.all.Load(name)
	if !ok {
		return false
	}
	by, closed := x.(*index).closed(id, time.Now())
	return closed && by != token
}

// look notes, with the agent's lock held, whether this peer has heard what there is.
func (q *queues) look(a *Agent) {
	if !q.synced.Load() && (a.replica.Engine().Synced() || len(a.locks.voters) < 2) {
		q.synced.Store(true)
	}
}

// wake has everybody who waits look whether there is a majority.
func (q *queues) wake() {
	q.all.Range(func(_, x any) bool {
		x.(*index).wakeAll()
		return true
	})
}

// close ends claims and waits; what is under way is answered with ErrClosed.
func (q *queues) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.all.Range(func(_, x any) bool {
		x.(*index).stop()
		return true
	})
}

func (x *index) stop() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.timer != nil {
		x.timer.Stop()
	}
}

// open refuses a name that cannot be and an agent that is closed.
func (q WorkQueue) open() (*index, error) {
	if err := checkQueueName(q.name); err != nil {
		return nil, err
	}
	if q.a.isClosed() {
		return nil, ErrClosed
	}
	return q.a.index(q.name), nil
}

// Name returns the queue's name.
func (q WorkQueue) Name() string { return q.name }

// Enqueue adds an item, and returns its id. It is on this peer when Enqueue returns;
// Agent.WaitReplicated waits until others have it too. Besides the errors of Put it
// fails with ErrDuplicate, ErrDraining, ErrQueueFull and ErrClosed.
func (q WorkQueue) Enqueue(ctx context.Context, value any, opts ...EnqueueOption) (id string, err error) {
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
func (q WorkQueue) EnqueueAll(ctx context.Context, items []NewItem) (ids []string, err error) {
	x, err := q.open()
	if err == nil {
		err = x.admit(len(items), q.a.cfg.Queues.MaxItems)
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
	x.mu.Lock()
	x.counters.Enqueued += uint64(fresh)
	x.mu.Unlock()
	if fresh == 0 && len(items) > 0 {
		return ids, fmt.Errorf("queue %q: item %q: %w", q.name, ids[0], ErrDuplicate)
	}
	return ids, nil
}

// unit adds items in one write, and returns how many had not been there.
func (q WorkQueue) unit(ctx context.Context, x *index, items []NewItem) (ids []string, fresh int, err error) {
	ids = make([]string, len(items))
	ops := make([]crdt.Op, 0, len(items))
	seen := make(map[string]bool)
	for i := range items {
		item := items[i]
		op, err := q.op(&item)
		if err != nil {
			return nil, 0, fmt.Errorf("item %d: %w", i+1, err)
		}
		ids[i] = item.ID
		if op.If != nil { // named by its enqueuer
			if seen[item.ID] || x.known(item.ID) {
				continue
			}
			seen[item.ID] = true
		}
		ops = append(ops, op)
	}
	for len(ops) > 0 {
		err := q.a.write(ctx, manner{urgent: true}, ops...)
		conflict, ok := errors.AsType[*crdt.ConflictError](err)
		if !ok {
			return ids, len(ops), err
		}
		ops = slices.DeleteFunc(ops, func(op crdt.Op) bool { return op.Key == conflict.Key }) // it came meanwhile
	}
	return ids, 0, nil
}

// admit refuses items the queue has no room for.
func (x *index) admit(n, most int) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.setting.Draining {
		return ErrDraining
	}
	if have := len(x.entries) - x.count[ItemDone]; have+n > most {
		return fmt.Errorf("%w: it has %d items, of at most %d", ErrQueueFull, have, most)
	}
	return nil
}

// op makes the write that adds an item, which gets an id if it has none.
func (q WorkQueue) op(item *NewItem) (op crdt.Op, err error) {
	if item.Delay < 0 || item.Delay > MaxItemDelay {
		return op, fmt.Errorf("delay %v: want 0 to %v", item.Delay, MaxItemDelay)
	}
	if item.MaxAttempts < 0 {
		return op, fmt.Errorf("%d attempts: want 1 or more", item.MaxAttempts)
	}
	rec := itemRecord{Priority: item.Priority, MaxAttempts: item.MaxAttempts}
	if rec.Value, err = crdt.ValueOf(item.Value); err != nil {
		return op, err
	}
	now := time.Now()
	if item.Delay > 0 {
		rec.NotBefore = now.Add(item.Delay).UnixMilli()
	}
	op = crdt.Op{Verb: crdt.Put, Kind: crdt.Register}
	if item.ID == "" {
		item.ID = fmt.Sprintf("%012x%016x", now.UnixMilli(), rand.Uint64())
	} else {
		op.If = new(crdt.Version) // only if it is absent
		err = checkItemID(item.ID)
	}
	op.Key = itemKey(q.name, item.ID)
	if err == nil {
		op.Value, err = crdt.ValueOf(rec)
	}
	return op, err
}

// Item is an item as Peek shows it.
type Item struct {
	ID       string     `json:"id"`
	Value    crdt.Value `json:"value"`
	Priority int        `json:"priority,omitempty"`
	Attempt  int        `json:"attempt,omitempty"` // how often it was tried
	Enqueued time.Time  `json:"enqueued"`
	Error    string     `json:"error,omitempty"` // of the last attempt
	Result   crdt.Value `json:"result,omitzero"` // of what is done
	State    ItemState  `json:"state"`
}

// Peek returns the first n items that may be claimed, in order, and claims none.
func (q WorkQueue) Peek(n int) ([]Item, error) {
	x, err := q.open()
	if err != nil {
		return nil, err
	}
	list := []Item{}
	for _, e := range x.next(min(n, 1000)) {
		if item, ok := q.show(e); ok {
			list = append(list, item)
		}
	}
	return list, nil
}

// Get returns an item in whatever state, ErrNotFound if there is none of that id.
func (q WorkQueue) Get(id string) (Item, error) {
	x, err := q.open()
	if err != nil {
		return Item{}, err
	}
	x.mu.Lock()
	x.promote(time.Now())
	var e entry
	if found := x.entries[id]; found != nil {
		e = *found
	}
	x.mu.Unlock()
	if item, ok := q.show(&e); ok {
		return item, nil
	}
	return Item{}, fmt.Errorf("queue %q: item %q: %w", q.name, id, ErrNotFound)
}

func (q WorkQueue) show(e *entry) (Item, bool) {
	item := Item{ID: e.id, Priority: e.head.Priority, Attempt: e.claim.Attempt, Enqueued: e.stamp.Time(), Error: e.claim.Error, State: e.state}
	if v, ok := q.a.Get(itemKey(q.name, e.id)); ok {
		item.Value = v.Field("value")
	}
	if e.verdict == done {
		if v, ok := q.a.Get(claimKey(q.name, e.id, e.token)); ok {
			item.Result = v.Field("result")
		}
	}
	return item, e.state != ""
}

// Depth counts the items by state.
func (q WorkQueue) Depth() (QueueDepth, error) {
	x, err := q.open()
	if err != nil {
		return QueueDepth{}, err
	}
	return x.depth(), nil
}

// Pause keeps items from being claimed, at every peer once it has heard, until Resume.
// Claims that run go on.
func (q WorkQueue) Pause(ctx context.Context) error {
	return q.change(ctx, func(s *queueSetting) { s.Paused = true })
}

// Resume ends Pause and Drain.
func (q WorkQueue) Resume(ctx context.Context) error {
	return q.change(ctx, func(s *queueSetting) { *s = queueSetting{} })
}

func (q WorkQueue) change(ctx context.Context, f func(*queueSetting)) error {
	x, err := q.open()
	if err != nil {
		return err
	}
	x.mu.Lock()
	s := x.setting
	x.mu.Unlock()
	f(&s)
	if err := q.a.Put(ctx, settingsKey(q.name), s, WithKind(crdt.Register), Urgent()); err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.setting = s // for calls that come before the loop does
	x.wake()
	return nil
}

// Drain has the queue take no more items, at every peer once it has heard, until Resume;
// and waits, within ctx, until none here is pending, delayed or claimed.
func (q WorkQueue) Drain(ctx context.Context) error {
	if err := q.change(ctx, func(s *queueSetting) { s.Draining = true }); err != nil {
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
		case <-q.a.closing:
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
	return q.each(ctx, func(e *entry) bool { return slices.Contains(states, e.state) && !e.mine },
		func(e *entry) (ops []crdt.Op) {
			if e.verdict != unclaimed {
				ops = append(ops, crdt.Op{Verb: crdt.Delete, Key: claimKey(q.name, e.id, e.token)})
			}
			return append(ops, crdt.Op{Verb: crdt.Delete, Key: itemKey(q.name, e.id)})
		})
}

// Requeue has dead items tried again, from their first attempt: those of these ids, all
// if none is given. It returns how many.
func (q WorkQueue) Requeue(ctx context.Context, ids ...string) (int, error) {
	return q.each(ctx, func(e *entry) bool { return e.state == ItemDead && (len(ids) == 0 || slices.Contains(ids, e.id)) },
		func(e *entry) []crdt.Op {
			v, _ := crdt.ValueOf(claimRecord{State: verdictNames[requeued], Worker: q.a.cfg.Name}) // nothing there can fail
			return []crdt.Op{{Verb: crdt.Put, Kind: crdt.Register, Key: claimKey(q.name, e.id, e.token), Value: v}}
		})
}

// each makes the writes that change those items that are wanted.
func (q WorkQueue) each(ctx context.Context, want func(*entry) bool, change func(*entry) []crdt.Op) (n int, err error) {
	x, err := q.open()
	if err != nil {
		return 0, err
	}
	for some := range slices.Chunk(x.those(want), crdt.MaxOps/2) { // up to two writes each
		var ops []crdt.Op
		for i := range some {
			ops = append(ops, change(&some[i])...)
		}
		if err := q.a.write(ctx, manner{urgent: true}, ops...); err != nil {
			return n, fmt.Errorf("queue %q: %w", q.name, err)
		}
		n += len(some)
	}
	return n, nil
}

// stats returns a reading of all queues.
func (q *queues) stats() map[string]QueueStats {
	list := make(map[string]QueueStats)
	q.all.Range(func(name, v any) bool {
		x := v.(*index)
		s := QueueStats{Depth: x.depth()}
		x.mu.Lock()
		s.QueueCounters = x.counters
		x.mu.Unlock()
		list[name.(string)] = s
		return true
	})
	return list
}

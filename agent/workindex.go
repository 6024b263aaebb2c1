package agent

import (
	"cmp"
	"container/heap"
	"slices"
	"sync"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// ItemState is where an item of a work queue is.
type ItemState string

// The states of an item.
const (
	ItemPending ItemState = "pending" // may be claimed
	ItemDelayed ItemState = "delayed" // may be claimed later
	ItemClaimed ItemState = "claimed" // a worker has it, as far as this peer has heard
	ItemDone    ItemState = "done"    // its result is kept for a while, and its id is taken
	ItemDead    ItemState = "dead"    // failed too often; see WorkQueue.Requeue
)

// entry is what a peer knows of one item.
type entry struct {
	id string

	present  bool // the item is here, and head is its own
	head     itemHead
	stamp    clock.Timestamp
	token    uint64 // of the greatest claim
	verdict  verdict
	claim    claimHead
	mine     bool      // a claim of this peer has it, or is being made
	until    time.Time // somebody else has it till then, at least
	state    ItemState // as counted; "" if it is nowhere
	due      time.Time
	pile     *pile // where it waits
	position int
}

// ahead orders what may be claimed: by priority, then by the stamps of the writes that
// enqueued, so that an item enqueued after another was seen comes after it.
func ahead(a, b *entry) bool {
	return cmp.Or(-cmp.Compare(a.head.Priority, b.head.Priority), cmp.Compare(a.stamp, b.stamp), cmp.Compare(a.id, b.id)) < 0
}

func sooner(a, b *entry) bool { return a.due.Before(b.due) }

// pile is a heap that knows where its entries are.
type pile struct {
	list []*entry
	less func(a, b *entry) bool
}

func (p *pile) Len() int           { return len(p.list) }
func (p *pile) Less(i, j int) bool { return p.less(p.list[i], p.list[j]) }

func (p *pile) Swap(i, j int) {
	p.list[i], p.list[j] = p.list[j], p.list[i]
	p.list[i].position, p.list[j].position = i, j
}

func (p *pile) Push(x any) {
	e := x.(*entry)
	e.pile, e.position = p, len(p.list)
	p.list = append(p.list, e)
}

func (p *pile) Pop() any {
	last := len(p.list) - 1
	e := p.list[last]
	p.list[last] = nil
	p.list = p.list[:last]
	e.pile = nil
	return e
}

// index is what a peer knows of one work queue. It is fed by the loop with every change,
// in any order and any number of times, and comes out the same. Its mutex is the last
// that is taken.
type index struct {
	name  string
	self  string
	alive func(peer string) bool

	mu       sync.Mutex // guards what follows
	entries  map[string]*entry
	ready    pile // all, or this peer's share of it
	rest     pile
	part     int // of parts is this peer's share
	parts    int
	later    pile
	count    map[ItemState]int
	setting  queueSetting
	rivals   map[string]time.Time // other peers that claim: when they last did
	waiters  []chan struct{}      // each of capacity 1: told once
	timer    *time.Timer          // of the first in later, while somebody waits
	claims   map[string]*Claim
	counters QueueCounters
	stale    []string // keys that say nothing any more, to be deleted
}

// queueSetting is what holds for a queue on all peers.
type queueSetting struct {
	Paused   bool `json:"paused,omitempty"`   // nothing is claimed
	Draining bool `json:"draining,omitempty"` // nothing is enqueued
}

func newIndex(name, self string, alive func(string) bool) *index {
	return &index{name: name, self: self, alive: alive, entries: make(map[string]*entry), count: make(map[ItemState]int),
		ready: pile{less: ahead}, rest: pile{less: ahead}, later: pile{less: sooner}, claims: make(map[string]*Claim), rivals: make(map[string]time.Time)}
}

func (x *index) entry(id string) *entry {
	e := x.entries[id]
	if e == nil {
		e = &entry{id: id}
		x.entries[id] = e
	}
	return e
}

// item takes that an item is there, or gone.
func (x *index) item(id string, present bool, head itemHead, stamp clock.Timestamp) {
	x.mu.Lock()
	defer x.mu.Unlock()
	e := x.entry(id)
	e.present, e.head, e.stamp = present, head, stamp
	x.settle(e, time.Now())
}

// judge takes what a claim says.
func (x *index) judge(id string, token uint64, v verdict, c claimHead) {
	x.mu.Lock()
	defer x.mu.Unlock()
	e := x.entry(id)
	if cmp.Or(cmp.Compare(token, e.token), cmp.Compare(v, e.verdict)) <= 0 {
		if token < e.token && e.claim.Worker == x.self && len(x.stale) < maxStale { // it came late
			x.stale = append(x.stale, claimKey(x.name, id, token))
		}
		return
	}
	e.token, e.verdict, e.claim = token, v, c
	now := time.Now()
	if c.Worker != x.self {
		x.rivals[c.Worker] = now
	}
	e.until = time.Time{}
	if v == claimed && !e.mine {
		e.until = now.Add(time.Duration(c.TTL) * time.Millisecond)
	}
	x.settle(e, now)
}

// maxStale bounds the keys that wait to be deleted; of more, what is written last stays.
const maxStale = 1 << 12

// unjudge takes that the record of a claim is gone. What is done is forgotten with it.
func (x *index) unjudge(id string, token uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	e := x.entries[id]
	if e == nil || e.token != token {
		return
	}
	if e.verdict == done && e.present && len(x.stale) < maxStale {
		x.stale = append(x.stale, itemKey(x.name, id))
		e.present = false
	}
	e.token, e.verdict, e.claim, e.until = 0, unclaimed, claimHead{}, time.Time{}
	x.settle(e, time.Now())
}

// settle puts an entry where it belongs now.
func (x *index) settle(e *entry, now time.Time) {
	if e.pile != nil {
		heap.Remove(e.pile, e.position)
	}
	state := x.stateOf(e, now)
	if state != e.state {
		if e.state != "" {
			x.count[e.state]--
		}
		if e.state = state; state != "" {
			x.count[state]++
		}
	}
	switch {
	case !e.present && e.verdict == unclaimed && !e.mine:
		delete(x.entries, e.id)
	case e.mine || !e.present || e.verdict == done || e.verdict == dead:
	case e.due.After(now):
		heap.Push(&x.later, e)
		x.arm(now)
	default:
		heap.Push(x.heapOf(e), e)
		x.wake()
	}
}

// stateOf returns the state of an entry, and sets when it is due.
func (x *index) stateOf(e *entry, now time.Time) ItemState {
	e.due = e.until
	for _, ms := range []int64{e.head.NotBefore, e.claim.NotBefore} {
		if at := time.UnixMilli(ms); ms != 0 && at.After(e.due) {
			e.due = at
		}
	}
	switch {
	case e.verdict == done:
		return ItemDone
	case !e.present: // it has not come yet, or was purged
		return ""
	case e.verdict == dead:
		return ItemDead
	case e.mine, e.verdict == claimed && (e.until.After(now) || e.claim.Worker != x.self && x.alive(e.claim.Worker)):
		return ItemClaimed
	case e.due.After(now):
		return ItemDelayed
	}
	return ItemPending
}

// promote moves what has become due. What another peer claimed, which is still there,
// need not be tried unless somebody waits for it.
func (x *index) promote(now time.Time) {
	for len(x.later.list) > 0 && !x.later.list[0].due.After(now) {
		e := x.later.list[0]
		if e.verdict == claimed && len(x.waiters) == 0 && x.alive(e.claim.Worker) {
			e.until = now.Add(max(time.Duration(e.claim.TTL)*time.Millisecond, time.Second))
		}
		x.settle(e, now)
	}
}

// take returns up to n items to be claimed, which are this peer's to try now. While
// other peers claim too, each begins, within a priority, with its own share, so that
// they do not race for the same items.
func (x *index) take(n int, into []*entry) []*entry {
	x.mu.Lock()
	defer x.mu.Unlock()
	now := time.Now()
	x.promote(now)
	x.divide(now)
	for !x.setting.Paused && len(into) < n {
		e := x.first()
		if e == nil {
			break
		}
		e.mine = true
		x.settle(e, now)
		into = append(into, e)
	}
	return into
}

// first returns what this peer is to claim first, nil if there is nothing.
func (x *index) first() *entry {
	switch own, rest := x.ready.list, x.rest.list; {
	case len(own) > 0 && (len(rest) == 0 || own[0].head.Priority >= rest[0].head.Priority):
		return own[0]
	case len(rest) > 0:
		return rest[0]
	}
	return nil
}

// divide deals what is ready into this peer's share and the rest, when those who claim
// have changed.
func (x *index) divide(now time.Time) {
	share, of := x.share(now)
	if share == x.part && of == x.parts {
		return
	}
	x.part, x.parts = share, of
	all := append(x.ready.list, x.rest.list...)
	x.ready.list, x.rest.list = nil, nil
	for _, e := range all {
		heap.Push(x.heapOf(e), e)
	}
}

// heapOf returns where an entry that is ready waits.
func (x *index) heapOf(e *entry) *pile {
	if x.parts < 2 || shareOf(e.id, x.parts) == x.part {
		return &x.ready
	}
	return &x.rest
}

// rivalry is how long a peer that claimed something counts as one that claims.
const rivalry = 2 * time.Second

// share returns which part of how many is this peer's.
func (x *index) share(now time.Time) (share, of int) {
	names := []string{x.self}
	for name, at := range x.rivals { // sorted below
		if now.Sub(at) < rivalry {
			names = append(names, name)
		} else {
			delete(x.rivals, name)
		}
	}
	slices.Sort(names)
	return slices.Index(names, x.self), len(names)
}

func shareOf(id string, of int) int {
	h := uint32(2166136261) // FNV-1a
	for i := range len(id) {
		h = (h ^ uint32(id[i])) * 16777619
	}
	return int(h>>8) % of
}

// giveBack ends a try or a claim of this peer; others may have the item until then.
func (x *index) giveBack(e *entry, until time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.release(e, until)
}

func (x *index) release(e *entry, until time.Time) {
	e.mine = false
	if e.verdict != claimed || e.claim.Worker == x.self || until.After(e.until) {
		e.until = until
	}
	x.settle(e, time.Now())
}

// wait returns a channel that is told when there may be something to claim.
func (x *index) wait() chan struct{} {
	turn := make(chan struct{}, 1)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.waiters = append(x.waiters, turn)
	now := time.Now()
	x.promote(now)
	x.arm(now)
	x.wake()
	return turn
}

// leave ends a wait; what it was told goes to the next.
func (x *index) leave(turn chan struct{}) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if i := slices.Index(x.waiters, turn); i >= 0 {
		x.waiters = slices.Delete(x.waiters, i, i+1)
		return
	}
	x.wake()
}

// wake tells as many waiters as there are items, in the order in which they came.
func (x *index) wake() {
	if x.setting.Paused {
		return
	}
	n := min(len(x.ready.list)+len(x.rest.list), len(x.waiters))
	for _, turn := range x.waiters[:n] {
		turn <- struct{}{}
	}
	x.waiters = slices.Delete(x.waiters, 0, n)
}

// wakeAll has everybody look again, for something else has changed.
func (x *index) wakeAll() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, turn := range x.waiters {
		turn <- struct{}{}
	}
	x.waiters = nil
}

// arm sets the timer for what is due next, while somebody waits.
func (x *index) arm(now time.Time) {
	if len(x.later.list) == 0 || len(x.waiters) == 0 {
		return
	}
	after := max(x.later.list[0].due.Sub(now), time.Millisecond)
	if x.timer == nil {
		x.timer = time.AfterFunc(after, x.tick)
		return
	}
	x.timer.Reset(after)
}

func (x *index) tick() {
	x.mu.Lock()
	defer x.mu.Unlock()
	now := time.Now()
	x.promote(now)
	x.arm(now)
}

// depth returns how many items are in each state.
func (x *index) depth() QueueDepth {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.promote(time.Now())
	return QueueDepth{Pending: x.count[ItemPending], Delayed: x.count[ItemDelayed], Claimed: x.count[ItemClaimed],
		Done: x.count[ItemDone], Dead: x.count[ItemDead], Paused: x.setting.Paused, Draining: x.setting.Draining}
}

// closed returns whether an item is not to be claimed now, done or dead or to be tried
// again later, and under which token that was said.
func (x *index) closed(id string, now time.Time) (token uint64, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	e := x.entries[id]
	if e == nil {
		return 0, false
	}
	switch e.verdict {
	case done, dead:
		return e.token, true
	case failed:
		return e.token, e.claim.NotBefore > now.UnixMilli()
	}
	return 0, false
}

// known reports whether an id is taken.
func (x *index) known(id string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	e := x.entries[id]
	return e != nil && (e.present || e.verdict == done)
}

// next returns the first n items that may be claimed, in order, without changing them.
func (x *index) next(n int) []*entry {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.promote(time.Now())
	x.part, x.parts = 0, 1
	for _, e := range x.rest.list {
		heap.Push(&x.ready, e)
	}
	x.rest.list = nil
	var list []*entry
	open := []int{0}
	if len(x.ready.list) == 0 {
		open = nil
	}
	for len(open) > 0 && len(list) < n { // best first, down the heap
		best := 0
		for i := range open {
			if x.ready.Less(open[i], open[best]) {
				best = i
			}
		}
		at := open[best]
		open = slices.Delete(open, best, best+1)
		copied := *x.ready.list[at]
		list = append(list, &copied)
		for child := 2*at + 1; child <= 2*at+2 && child < len(x.ready.list); child++ {
			open = append(open, child)
		}
	}
	return list
}

// those returns copies of the entries that are wanted, by id.
func (x *index) those(want func(e *entry) bool) []entry {
	x.mu.Lock()
	defer x.mu.Unlock()
	var list []entry
	for _, e := range x.entries { // sorted below
		if want(e) {
			list = append(list, *e)
		}
	}
	slices.SortFunc(list, func(a, b entry) int { return cmp.Compare(a.id, b.id) })
	return list
}

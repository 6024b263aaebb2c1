package agent

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/queue"
	"github.com/sentinel-peer/sentinel-peer/internal/replica"
)

// index is what a peer knows of one work queue, package queue's machine, with a lock
// around it and a timer. Its mutex is the last that is taken.
type index struct {
	name string

	mu     sync.Mutex // guards what follows
	core   *queue.Index
	turns  map[uint64]chan struct{} // of those who wait, each of capacity 1: told once
	timer  *time.Timer              // of what is due next, while somebody waits
	armed  time.Time                // for when
	claims map[string]*Claim        // that were made here, by item
}

// newIndex makes an index of a queue for a peer called self.
func newIndex(name, self string, c QueueConfig, alive func(string) bool) *index {
	return &index{name: name, turns: make(map[uint64]chan struct{}), claims: make(map[string]*Claim),
		core: queue.New(queue.Config{Name: name, Self: self, Alive: alive, Seed: rand.Uint64(),
			MaxItems: c.MaxItems, MaxAttempts: c.MaxAttempts, Retention: c.Retention})}
}

// do runs f on the machine, then tells those whom it woke and sets the timer.
func (x *index) do(f func(core *queue.Index, now time.Time)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	f(x.core, time.Now())
	for _, turn := range x.core.Woken() {
		x.turns[turn] <- struct{}{}
		delete(x.turns, turn)
	}
	at, ok := x.core.Next()
	if !ok || at.Equal(x.armed) {
		return
	}
	x.armed = at
	after := max(time.Until(at), time.Millisecond)
	if x.timer == nil {
		x.timer = time.AfterFunc(after, x.tick)
		return
	}
	x.timer.Reset(after)
}

func (x *index) tick() {
	x.do(func(core *queue.Index, now time.Time) {
		x.armed = time.Time{}
		core.Tick(now)
	})
}

func (x *index) stop() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.timer != nil {
		x.timer.Stop()
	}
}

// wait returns a channel that is told when there may be something to claim, and how to
// end the wait otherwise.
func (x *index) wait() (told <-chan struct{}, leave func()) {
	turn, c := uint64(0), make(chan struct{}, 1)
	x.do(func(core *queue.Index, now time.Time) {
		turn = core.Wait(now)
		x.turns[turn] = c
	})
	return c, func() {
		x.do(func(core *queue.Index, _ time.Time) {
			core.Leave(turn)
			delete(x.turns, turn)
		})
	}
}

// depth returns how many items are in each state.
func (x *index) depth() QueueDepth {
	var d queue.Depth
	x.do(func(core *queue.Index, now time.Time) { d = core.Depth(now) })
	return QueueDepth{Pending: d.Pending, Delayed: d.Delayed, Claimed: d.Claimed, Done: d.Done, Dead: d.Dead, Paused: d.Paused, Draining: d.Draining}
}

// queues is the work queues of a peer.
type queues struct {
	recovered atomic.Bool // this voter knows what earlier lives have acknowledged

	allMu sync.RWMutex // guards what follows
	all   map[string]*index
	more  chan struct{} // closed when a queue becomes known or all waiters are to look; nil if nobody waits for one

	written atomic.Uint64 // writes of callers here, counted under the agent's lock
	heard   atomic.Uint64 // of those, what the indexes know

	mu     sync.Mutex    // guards what follows
	caught chan struct{} // closed when the indexes know more; nil if nobody waits
	closed bool
	waits  []*verdictWrite // to be written by the finisher
	busy   bool            // the finisher runs
	last   []crdt.Op       // of claims that were given back because the agent closes
}

func (q *queues) names() []string {
	q.allMu.RLock()
	defer q.allMu.RUnlock()
	return slices.Sorted(maps.Keys(q.all))
}

// each calls f for every queue.
func (q *queues) each(f func(x *index)) {
	q.allMu.RLock()
	list := slices.Collect(maps.Values(q.all))
	q.allMu.RUnlock()
	for _, x := range list { // each for itself: no order
		f(x)
	}
}

// known returns what is known of a queue, nil if nothing.
func (q *queues) known(name string) *index {
	q.allMu.RLock()
	defer q.allMu.RUnlock()
	return q.all[name]
}

// index returns what is known of a queue, made if need be.
func (a *Agent) index(name string) *index {
	q := &a.queues
	if x := q.known(name); x != nil {
		return x
	}
	q.allMu.Lock()
	defer q.allMu.Unlock()
	x := q.all[name]
	if x == nil {
		if q.all == nil {
			q.all = make(map[string]*index)
		}
		x = a.newIndex(strings.Clone(name)) // of a key
		q.all[x.name] = x
		q.tell()
	}
	return x
}

func (a *Agent) newIndex(name string) *index {
	return newIndex(name, a.cfg.Name, a.cfg.Queues, a.locks.alive)
}

// tell wakes those who wait for a queue to become known. It is called with allMu held.
func (q *queues) tell() {
	if q.more != nil {
		close(q.more)
		q.more = nil
	}
}

// another returns a channel that is closed when some queue becomes known, at once if the
// one of this name is.
func (q *queues) another(name string) <-chan struct{} {
	q.allMu.Lock()
	defer q.allMu.Unlock()
	if q.more == nil {
		q.more = make(chan struct{})
	}
	more := q.more
	if q.all[name] != nil {
		q.tell()
	}
	return more
}

// alive reports whether a peer of that name is up.
func (l *locks) alive(name string) bool { return (*l.ids.Load())[name] != "" }

// changed feeds the indexes. Only the loop calls it, before anything that was received
// is acknowledged: what this peer has acknowledged it knows.
func (q *queues) changed(a *Agent, changes []crdt.Change) {
	keys := make([]queue.Key, 0, min(len(changes), changedAtOnce)) // of changes[i-len(keys):i], all of one queue
	tell := func(list []crdt.Change) {
		if len(list) > 0 {
			a.index(keys[0].Queue).do(func(core *queue.Index, now time.Time) {
				for i := range list {
					core.Change(now, keys[i], &list[i])
				}
			})
		}
		keys = keys[:0]
	}
	for i := range changes {
		c := &changes[i]
		k, ok := queue.ParseKey(c.Key)
		ok = ok && c.Cause != crdt.CauseConflict && !c.Lazy
		if !ok || len(keys) == changedAtOnce || len(keys) > 0 && k.Queue != keys[0].Queue {
			tell(changes[i-len(keys) : i])
		}
		if ok {
			keys = append(keys, k)
		}
	}
	tell(changes[len(changes)-len(keys):])
}

// changedAtOnce bounds the changes for which a queue is locked at a time: voters wait
// for it.
const changedAtOnce = 64

// wrote notes, under the agent's lock, writes of a caller that the indexes are to hear of.
func (q *queues) wrote(ops []crdt.Op) {
	for i := range ops {
		if _, ok := queue.ParseKey(ops[i].Key); ok {
			q.written.Add(1)
		}
	}
}

// knows notes that the indexes have heard of the first so many writes.
func (q *queues) knows(written uint64) {
	if q.heard.Swap(written) == written {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.caught != nil {
		close(q.caught)
		q.caught = nil
	}
}

// catchUp waits until the indexes, which follow the loop, know what was written here
// before: who reads a queue sees what was acknowledged. It does not wait when ctx is over.
func (q *queues) catchUp(ctx context.Context) {
	for want := q.written.Load(); q.heard.Load() < want; {
		q.mu.Lock()
		if q.caught == nil {
			q.caught = make(chan struct{})
		}
		caught := q.caught
		q.mu.Unlock()
		if q.heard.Load() >= want {
			return
		}
		select {
		case <-caught:
		case <-ctx.Done():
			return
		}
	}
}

// barred is asked by the voter here, with every round for a lock. A voter that does not
// know what it has acknowledged certifies no claim.
func (a *Agent) barred(lock string, token uint64) bool {
	name, id, ok := queue.ParseLock(lock)
	if !ok {
		return false
	}
	if !a.queues.recovered.Load() {
		return true
	}
	x := a.queues.known(name)
	if x == nil {
		return false
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.core.Bars(time.Now(), id, token)
}

// recovering reports whether this voter has just heard
// enough to know what earlier lives have acknowledged. It counts once the indexes know.
func (q *queues) recovering(a *Agent, r *replica.Replica) bool {
	return !q.recovered.Load() && queue.Recovered(a.voters(), a.cfg.Name, r.View().SyncedWith(), a.cfg.Locks.FirstBoot)
}

// wake has everybody who waits look whether there is a majority.
func (q *queues) wake() {
	q.allMu.Lock()
	q.tell()
	q.allMu.Unlock()
	q.each(func(x *index) { x.do(func(core *queue.Index, now time.Time) { core.WakeAll(now) }) })
}

// close ends claims and waits; what is under way is answered with ErrClosed.
func (q *queues) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.each((*index).stop)
}

// stats returns a reading of all queues.
func (q *queues) stats() map[string]QueueStats {
	q.catchUp(context.Background())
	list := make(map[string]QueueStats)
	q.each(func(x *index) {
		s := QueueStats{Depth: x.depth()}
		x.mu.Lock()
		s.QueueCounters = QueueCounters(x.core.Counters)
		x.mu.Unlock()
		list[x.name] = s
	})
	return list
}

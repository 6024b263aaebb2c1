package workqueue

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/queue"
)

// index guards the machine of one work queue (queue.Index) by a mutex, and runs its timer. A goroutine
// that holds mu takes no other lock.
type index struct {
	name string

	mu      sync.Mutex // guards the fields below
	core    *queue.Index
	waiters map[uint64]chan struct{} // callers that wait for an item, by turn; each channel has capacity 1 and gets one token
	timer   *time.Timer              // calls tick when the machine has something to do, while a caller waits
	armed   time.Time                // time for which timer is set
	claims  map[string]*Claim        // claims that this peer has, by the id of the item
}

// newIndex returns the index of a queue at the peer named self.
func newIndex(name, self string, c Config, alive func(string) bool) *index {
	return &index{name: name, waiters: make(map[uint64]chan struct{}), claims: make(map[string]*Claim),
		core: queue.New(queue.Config{Name: name, Self: self, Alive: alive, Seed: rand.Uint64(),
			MaxItems: c.MaxItems, MaxAttempts: c.MaxAttempts, Retention: c.Retention})}
}

// do calls f with the machine and mu held. Then it wakes the callers that the machine names, and sets the
// timer.
func (x *index) do(f func(core *queue.Index, now time.Time)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	f(x.core, time.Now())
	for _, turn := range x.core.Woken() {
		x.waiters[turn] <- struct{}{}
		delete(x.waiters, turn)
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

// tick is called by the timer.
func (x *index) tick() {
	x.do(func(core *queue.Index, now time.Time) {
		x.armed = time.Time{}
		core.Tick(now)
	})
}

// stop stops the timer.
func (x *index) stop() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.timer != nil {
		x.timer.Stop()
	}
}

// wait returns a channel that delivers when there may be something to claim. A caller that stops waiting
// before that must call leave.
func (x *index) wait() (woken <-chan struct{}, leave func()) {
	turn, c := uint64(0), make(chan struct{}, 1)
	x.do(func(core *queue.Index, now time.Time) {
		turn = core.Wait(now)
		x.waiters[turn] = c
	})
	return c, func() {
		x.do(func(core *queue.Index, _ time.Time) {
			core.Leave(turn)
			delete(x.waiters, turn)
		})
	}
}

// depth returns the number of items in each state.
func (x *index) depth() (d Depth) {
	x.do(func(core *queue.Index, now time.Time) {
		count := core.Counts(now)
		d = Depth{Pending: count[queue.Pending], Delayed: count[queue.Delayed], Claimed: count[queue.Claimed], Done: count[queue.Done], Dead: count[queue.Dead]}
		d.Paused, d.Draining = core.Setting().Paused, core.Setting().Draining
	})
	return d
}

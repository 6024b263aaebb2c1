package workqueue

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/queue"
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
func newIndex(name, self string, c Config, alive func(string) bool) *index {
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
func (x *index) depth() (d Depth) {
	x.do(func(core *queue.Index, now time.Time) {
		count := core.Counts(now)
		d = Depth{Pending: count[queue.Pending], Delayed: count[queue.Delayed], Claimed: count[queue.Claimed], Done: count[queue.Done], Dead: count[queue.Dead]}
		d.Paused, d.Draining = core.Setting().Paused, core.Setting().Draining
	})
	return d
}

package aside

import (
	"sync"
	"time"
)

// Queue is what is to be called. There is a goroutine only while there is something.
type Queue struct {
	limit int

	mu      sync.Mutex // guards what follows
	waiting []func()
	idle    chan struct{} // closed when all is done; nil before the first call
	running bool
	closed  bool
	dropped uint64
}

// Patience is how long whoever stops waits for code of others that does not return.
const Patience = time.Second

// New returns an empty queue of up to limit calls, 0 for any number.
func New(limit int) *Queue { return &Queue{limit: limit} }

// Do has f called. It returns at once, and false if f is dropped instead: the queue is
// full or closed.
func (q *Queue) Do(f func()) bool { return q.within(q.limit, f) }

// within is Do with a limit of its own.
func (q *Queue) within(limit int, f func()) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || limit > 0 && len(q.waiting) >= limit {
		q.dropped++
		return false
	}
	q.waiting = append(q.waiting, f)
	if !q.running {
		q.running, q.idle = true, make(chan struct{})
		go q.run()
	}
	return true
}

func (q *Queue) run() {
	for {
		q.mu.Lock()
		if len(q.waiting) == 0 {
			q.running = false
			close(q.idle)
			q.mu.Unlock()
			return
		}
		f := q.waiting[0]
		q.waiting[0] = nil
		q.waiting = q.waiting[1:]
		q.mu.Unlock()
		f()
	}
}

// Dropped returns how many calls were dropped. A nil Queue drops none.
func (q *Queue) Dropped() uint64 {
	if q == nil {
		return 0
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped
}

// Close takes no more calls and waits, up to patience, for those that were taken. It
// reports whether all are done; else the first of them still runs, the rest are dropped,
// and the goroutine ends with it. A nil Queue has none.
func (q *Queue) Close(patience time.Duration) (done bool) {
	if q == nil {
		return true
	}
	q.mu.Lock()
	q.closed = true
	idle := q.idle
	q.mu.Unlock()
	if idle == nil {
		return true
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-idle:
		return true
	case <-late.C:
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dropped += uint64(len(q.waiting))
	q.waiting = nil
	return !q.running
}

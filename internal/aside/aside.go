package aside

import (
	"sync"
	"time"
)

// Queue calls functions one after the other. It has a goroutine only while there are some to call.
type Queue struct {
	limit int

	mu      sync.Mutex // guards the fields below
	waiting []func()
	idle    chan struct{} // closed when all calls are done; nil before the first call
	running bool
	closed  bool
	dropped uint64
}

// Patience is how long a stop waits for code of the embedding program that does not return.
const Patience = time.Second

// New returns an empty queue of up to limit calls, 0 for any number.
func New(limit int) *Queue { return &Queue{limit: limit} }

// Do schedules a call of f. It returns at once: false if f is dropped because the queue is full or
// closed.
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

// Close refuses further calls, and waits up to patience for those that were scheduled. It reports
// whether all are done. If not, one call still runs, the others are dropped, and the goroutine ends
// with that call. A nil Queue has no calls.
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

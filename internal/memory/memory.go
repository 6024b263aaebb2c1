package memory

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/replica"
)

// Errors of calls.
var (
	ErrClosed   = errors.New("the agent is closed")
	ErrNotFound = errors.New("not found")
	ErrRotated  = errors.New("another process wrote as this peer, a copy of it; it goes on as a new actor, and who has its earlier writes is not known")
)

// Config configures a Memory.
type Config struct {
	Replica    replica.Config
	Resolvers  map[string]crdt.Resolver // of custom keys, by the name in their rule
	MaxBacklog int                      // bytes written and not yet carried out, before writes wait
	CacheSize  int                      // decoded values kept for As
	CacheTTL   time.Duration            // and how long

	// Wrote hears, under the lock, of writes that succeeded.
	Wrote func(ops []crdt.Op)
}

// Memory is what a peer holds, and the machine that holds it.
type Memory struct {
	cfg     Config
	store   *crdt.Store // Load, Keys and Len without the lock
	cache   *Cache
	ticked  atomic.Int64 // Unix milliseconds of the latest Turn, or up to a second earlier
	reads   atomic.Uint64
	wake    chan struct{} // there is something for Turn
	closing chan struct{} // no more calls

	mu      sync.Mutex // guards what follows
	replica *replica.Replica
	backlog int           // bytes written that the owner has not carried out
	drained chan struct{} // closed when it has, then renewed
	acked   chan struct{} // closed when an acknowledgement came, then renewed
	waiters []chan struct{}
	writes  uint64
}

// New returns an empty memory. Its owner calls Turn whenever Woken says so, and at the
// time that Carried returned.
func New(now time.Time, cfg Config) (*Memory, error) {
	cache, err := newCache(cfg.CacheSize, cfg.CacheTTL)
	if err != nil {
		return nil, err
	}
	m := &Memory{
		cfg: cfg, cache: cache, replica: replica.New(now, cfg.Replica),
		wake: make(chan struct{}, 1), closing: make(chan struct{}), drained: make(chan struct{}), acked: make(chan struct{}),
	}
	m.store = m.replica.Store()
	m.ticked.Store(now.UnixMilli())
	return m, nil
}

// Do runs f with the lock held. It must not wait, nor call the memory again. What it has
// the machine do is carried out after Signal.
func (m *Memory) Do(f func(r *replica.Replica, now time.Time)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(m.replica, time.Now())
}

// Woken delivers when there is something for Turn.
func (m *Memory) Woken() <-chan struct{} { return m.wake }

// Signal has the owner take a Turn. The channel holds one token: more say nothing new.
func (m *Memory) Signal() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Close takes no more calls. It is called once.
func (m *Memory) Close() { close(m.closing) }

// Closing is closed by Close.
func (m *Memory) Closing() <-chan struct{} { return m.closing }

// Closed reports whether Close was called.
func (m *Memory) Closed() bool {
	select {
	case <-m.closing:
		return true
	default:
		return false
	}
}

// Turn is one hold of the lock by the owner: frames are received, what is due is done,
// and beside has its say before what is to happen comes out. refused hears of frames that
// were not taken; sent is to be called once the envelopes are handed over.
func (m *Memory) Turn(frames [][]byte, refused func(error), beside func(r *replica.Replica)) (rd replica.Ready, now time.Time, sent func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now = time.Now()
	m.ticked.Store(now.UnixMilli())
	for _, f := range frames {
		if err := m.replica.Receive(now, f); err != nil {
			refused(err)
		}
	}
	if !m.replica.Deadline().After(now) {
		m.replica.Tick(now)
	}
	beside(m.replica)
	rd = m.replica.Ready()
	if m.backlog > 0 {
		m.backlog = 0
		close(m.drained)
		m.drained = make(chan struct{})
	}
	if rd.Acked {
		close(m.acked)
		m.acked = make(chan struct{})
	}
	var waiters []chan struct{}
	if deltas, _ := m.replica.View().Pending(); deltas == 0 {
		waiters, m.waiters = m.waiters, nil
	}
	return rd, now, func() {
		for _, w := range waiters {
			close(w)
		}
	}
}

// Carried takes back the changes of a Turn that nobody reads any more, and returns when
// the next Turn is due, if nothing wakes the owner before.
func (m *Memory) Carried(changes []crdt.Change) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.store.Recycle(changes)
	return m.replica.Deadline() // now that the replica knows what was not taken
}

// Counts are readings of a memory.
type Counts struct {
	Reads                               uint64 // one of so many is counted for all
	Writes                              uint64
	Backlog                             int
	CacheHits, CacheMisses, Invalidated uint64
	CacheSize, CacheMax                 int
}

// Counts returns the current readings.
func (m *Memory) Counts() Counts {
	c := m.cache
	n := Counts{Reads: m.reads.Load(), CacheHits: c.hits.Load(), CacheMisses: c.misses.Load(), Invalidated: c.invalidated.Load(),
		CacheSize: c.Len(), CacheMax: c.size}
	m.mu.Lock()
	defer m.mu.Unlock()
	n.Writes, n.Backlog = m.writes, m.backlog
	return n
}

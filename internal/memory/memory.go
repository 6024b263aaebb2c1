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
	// ErrClosed is returned by calls after the agent was closed, and by those that were waiting.
	ErrClosed = errors.New("the agent is closed")
	// ErrNotFound is returned for a key that is absent.
	ErrNotFound = errors.New("not found")
	// ErrRotated is returned by a wait for acknowledgements when a copy of this peer turned up.
	ErrRotated = errors.New("another process wrote as this peer, a copy of it; this peer now writes as a new actor, and it is unknown which peers have its earlier writes")
)

// Config configures a Memory.
type Config struct {
	Replica    replica.Config
	Resolvers  map[string]crdt.Resolver // resolvers of custom keys, by the name in a key's rule
	MaxBacklog int                      // a write waits while more bytes than this wait for the owner
	CacheSize  int                      // greatest number of decoded values kept for As
	CacheTTL   time.Duration            // how long a decoded value is kept at most

	// Wrote is called with the lock held after each write that succeeded. It must not keep ops.
	Wrote func(ops []crdt.Op)
}

// Memory is the shared memory at one peer. All methods are safe for concurrent use, except that
// only the owner calls Turn and Carried.
type Memory struct {
	cfg     Config
	store   *crdt.Store // its Load, Keys and Len need no lock
	cache   *Cache
	ticked  atomic.Int64  // time of the latest Turn, Unix milliseconds
	reads   atomic.Uint64 // reads counted so far, see ReadSample
	wake    chan struct{} // holds a token while the owner is to call Turn
	closing chan struct{} // closed by Close

	updating atomic.Bool // a function of Update runs

	rendering sync.Mutex // held while a large key is rendered; taken before mu

	mu      sync.Mutex // the lock; it guards the fields below
	replica *replica.Replica
	backlog int             // bytes written that the owner has not taken in a Turn
	drained chan struct{}   // closed when a Turn takes the backlog, then replaced
	acked   chan struct{}   // closed when an acknowledgement arrives, then replaced
	waiters []chan struct{} // one for each caller of Flush
	writes  uint64          // operations written so far
}

// New returns an empty memory. Its owner must call Turn whenever Woken delivers, and at the time
// that Carried returned.
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

// Do calls f with the lock held. f must not wait and must not call methods of m. The owner carries
// out the effects on the machine in its next Turn, which Signal asks for.
func (m *Memory) Do(f func(r *replica.Replica, now time.Time)) {
	m.lock()
	defer m.mu.Unlock()
	f(m.replica, time.Now())
}

// Woken returns the channel that delivers when the owner is to call Turn.
func (m *Memory) Woken() <-chan struct{} { return m.wake }

// Signal makes the owner call Turn soon. It never waits. Signals before that Turn count as one.
func (m *Memory) Signal() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Close makes later calls fail with ErrClosed, as their comments say, and ends those that wait.
// It must be called once only.
func (m *Memory) Close() { close(m.closing) }

// Closing returns a channel that is closed by Close.
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

// Turn holds the lock once for the owner. It gives the frames to the machine, does what is due by
// the clock, calls beside, and returns the effects that the owner is to carry out. refused is
// called with the error of each frame that the machine refused. The owner calls sent after it has
// handed rd.Envelopes to the transport; sent ends the waits of Flush.
func (m *Memory) Turn(frames [][]byte, refused func(error), beside func(r *replica.Replica)) (rd replica.Ready, now time.Time, sent func()) {
	m.lock()
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

// Carried takes back the changes of a Turn, which no reader may use any more. It returns the time
// at which the next Turn is due if Woken does not deliver before.
func (m *Memory) Carried(changes []crdt.Change) time.Time {
	m.lock()
	defer m.mu.Unlock()
	m.store.Recycle(changes)
	return m.replica.Deadline() // the owner has reported by now which frames the transport refused
}

// Counts are readings of the counters and gauges of a Memory.
type Counts struct {
	Reads                               uint64 // an estimate, see ReadSample
	Writes                              uint64 // operations
	Backlog                             int    // bytes that wait for the owner
	CacheHits, CacheMisses, Invalidated uint64 // Invalidated counts values dropped before their end
	CacheSize, CacheMax                 int    // values in the cache, and the greatest number of them
}

// Counts returns the current readings.
func (m *Memory) Counts() Counts {
	c := m.cache
	n := Counts{Reads: m.reads.Load(), CacheHits: c.hits.Load(), CacheMisses: c.misses.Load(), Invalidated: c.invalidated.Load(),
		CacheSize: c.Len(), CacheMax: c.size}
	m.lock()
	defer m.mu.Unlock()
	n.Writes, n.Backlog = m.writes, m.backlog
	return n
}

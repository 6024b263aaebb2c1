package workqueue

import (
	"context"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/memory"
	"github.com/sentinel-peer/sentinel-peer/internal/queue"
	"github.com/sentinel-peer/sentinel-peer/internal/replica"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// Host is what work queues need of the peer that they run on. Package agent fills it.
type Host struct {
	Name      string
	Memory    *memory.Memory
	Locks     func() *lockservice.Session // whose voters ask Bars
	MaxTTL    time.Duration               // of a lease
	FirstBoot bool                        // no earlier life of this peer has acknowledged a completion
	Alive     func(peer string) bool      // whether a peer of that name is up
	Emit      func(event, name string)    // tells of an item, queue/id
	Go        func(f func())              // runs f on a goroutine that the peer waits for
	Log       *slog.Logger
}

// What a claim is called among the events of an agent, of queue/id.
const (
	ItemClaimed   = "item-claimed"   // through this peer
	ItemCompleted = "item-completed" // validly
	ItemFailed    = "item-failed"    // and will be tried again
	ItemDead      = "item-dead"      // and will not
	ClaimLost     = "claim-lost"     // before it was finished
	ClaimLapsed   = "claim-lapsed"   // its lease ended here; it may go on, or be finished, at another peer
)

// Queues is the work queues of a peer. Package agent makes it and feeds it; programs use
// the handles of an agent.
type Queues struct {
	host      Host
	cfg       Config
	recovered atomic.Bool // this voter knows what earlier lives have acknowledged

	allMu sync.RWMutex  // guards what follows
	more  chan struct{} // closed when a queue becomes known or all waiters are to look; nil if nobody waits for one
	all   map[string]*index

	written atomic.Uint64 // writes of callers here, counted under the agent's lock
	heard   atomic.Uint64 // of those, what the indexes know

	mu     sync.Mutex    // guards what follows
	caught chan struct{} // closed when the indexes know more; nil if nobody waits
	closed bool
	waits  []*verdictWrite // to be written by the finisher
	busy   bool            // the finisher runs
	last   []crdt.Op       // of claims that were given back because the agent closes
}

// New returns the work queues of a peer, which knows of none yet.
func New(h Host, c Config) *Queues { return &Queues{host: h, cfg: c.withDefaults()} }

// Queue returns a handle on the queue of that name.
func (s *Queues) Queue(name string) Queue { return Queue{s, name} }

// Names returns the names of the queues this peer knows, sorted.
func (s *Queues) Names() []string {
	s.catchUp(context.Background())
	s.allMu.RLock()
	defer s.allMu.RUnlock()
	return slices.Sorted(maps.Keys(s.all))
}

// voters are those whose majority certifies leases now; nil if this peer is alone with
// its own, or in best-effort mode.
func (s *Queues) voters() []string {
	if s.host.Locks().Guarantee() != lockservice.Quorum {
		return nil
	}
	return s.host.Locks().Voters().Names
}

// each calls f for every queue.
func (s *Queues) each(f func(x *index)) {
	s.allMu.RLock()
	list := slices.Collect(maps.Values(s.all))
	s.allMu.RUnlock()
	for _, x := range list { // each for itself: no order
		f(x)
	}
}

// known returns what is known of a queue, nil if nothing.
func (s *Queues) known(name string) *index {
	s.allMu.RLock()
	defer s.allMu.RUnlock()
	return s.all[name]
}

// index returns what is known of a queue, made if need be.
func (s *Queues) index(name string) *index {
	if x := s.known(name); x != nil {
		return x
	}
	s.allMu.Lock()
	defer s.allMu.Unlock()
	x := s.all[name]
	if x == nil {
		if s.all == nil {
			s.all = make(map[string]*index)
		}
		x = s.newIndex(strings.Clone(name)) // of a key
		s.all[x.name] = x
		s.tell()
	}
	return x
}

func (s *Queues) newIndex(name string) *index {
	return newIndex(name, s.host.Name, s.cfg, s.host.Alive)
}

// tell wakes those who wait for a queue to become known. It is called with allMu held.
func (s *Queues) tell() {
	if s.more != nil {
		close(s.more)
		s.more = nil
	}
}

// another returns a channel that is closed when some queue becomes known, at once if the
// one of this name is.
func (s *Queues) another(name string) <-chan struct{} {
	s.allMu.Lock()
	defer s.allMu.Unlock()
	if s.more == nil {
		s.more = make(chan struct{})
	}
	more := s.more
	if s.all[name] != nil {
		s.tell()
	}
	return more
}

// Changed hears of every change, in its turn, before anything that was received
// is acknowledged: what this peer has acknowledged it knows.
func (s *Queues) Changed(changes []crdt.Change) {
	keys := make([]queue.Key, 0, min(len(changes), changedAtOnce)) // of changes[i-len(keys):i], all of one queue
	tell := func(list []crdt.Change) {
		if len(list) > 0 {
			s.index(keys[0].Queue).do(func(core *queue.Index, now time.Time) {
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

// Wrote hears, under the lock of the memory, of writes of a caller: the indexes are to hear
// of them before who reads a queue is answered.
func (s *Queues) Wrote(ops []crdt.Op) {
	for i := range ops {
		if _, ok := queue.ParseKey(ops[i].Key); ok {
			s.written.Add(1)
		}
	}
}

// knows notes that the indexes have heard of the first so many writes.
func (s *Queues) knows(written uint64) {
	if s.heard.Swap(written) == written {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.caught != nil {
		close(s.caught)
		s.caught = nil
	}
}

// catchUp waits until the indexes, which follow the loop, know what was written here
// before: who reads a queue sees what was acknowledged. It does not wait when ctx is over.
func (s *Queues) catchUp(ctx context.Context) {
	for want := s.written.Load(); s.heard.Load() < want; {
		s.mu.Lock()
		if s.caught == nil {
			s.caught = make(chan struct{})
		}
		caught := s.caught
		s.mu.Unlock()
		if s.heard.Load() >= want {
			return
		}
		select {
		case <-caught:
		case <-ctx.Done():
			return
		}
	}
}

// Bars is asked by the voter here, with every round for a lock. A voter that does not
// know what it has acknowledged certifies no claim.
func (s *Queues) Bars(lock string, token uint64) bool {
	name, id, ok := queue.ParseLock(lock)
	if !ok {
		return false
	}
	if !s.recovered.Load() {
		return true
	}
	x := s.known(name)
	if x == nil {
		return false
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.core.Bars(time.Now(), id, token)
}

// Turn is called within a Turn of the memory; heard is to be called when its changes have
// been given to Changed: then the indexes know what was written before, and, if this voter
// has just heard enough of the others, what its earlier lives have acknowledged.
func (s *Queues) Turn(r *replica.Replica) (heard func()) {
	written := s.written.Load()
	recovering := !s.recovered.Load() && queue.Recovered(s.voters(), s.host.Name, r.View().SyncedWith(), s.host.FirstBoot)
	return func() {
		s.knows(written)
		if recovering {
			s.recovered.Store(true)
		}
	}
}

// Abandon has nobody wait for a Turn any more.
func (s *Queues) Abandon() { s.knows(math.MaxUint64) }

// Wake has everybody who waits look whether there is a majority.
func (s *Queues) Wake() {
	s.allMu.Lock()
	s.tell()
	s.allMu.Unlock()
	s.each(func(x *index) { x.do(func(core *queue.Index, now time.Time) { core.WakeAll(now) }) })
}

// Close ends claims and waits; what is under way is answered with agent.ErrClosed.
func (s *Queues) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.each((*index).stop)
}

// Stats returns a reading of all queues.
func (s *Queues) Stats() map[string]Stats {
	s.catchUp(context.Background())
	list := make(map[string]Stats)
	s.each(func(x *index) {
		reading := Stats{Depth: x.depth()}
		x.mu.Lock()
		reading.Counters = Counters(x.core.Counters)
		x.mu.Unlock()
		list[x.name] = reading
	})
	return list
}

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

// Host has the parts of a peer that its work queues use. Package agent fills it.
type Host struct {
	Name      string
	Memory    *memory.Memory
	Locks     func() *lockservice.Session // the lock service; its voter calls Queues.Bars
	MaxTTL    time.Duration               // longest TTL of a lease
	FirstBoot bool                        // no earlier run of this peer has acknowledged a completion
	Alive     func(peer string) bool      // reports whether the peer of a name is up
	Emit      func(event, name string)    // emits an event about an item, queue/id
	Go        func(f func())              // runs f on a goroutine that the peer waits for
	Log       *slog.Logger
}

// The types of an agent's events about items.
const (
	ItemClaimed   = "item-claimed"   // a worker claimed the item through this peer
	ItemCompleted = "item-completed" // a completion through this peer is valid
	ItemFailed    = "item-failed"    // the item failed and will be tried again
	ItemDead      = "item-dead"      // the item failed too often
	ClaimLost     = "claim-lost"     // the claim ended before it was finished
	ClaimLapsed   = "claim-lapsed"   // the lease of a bearer's claim ended here, and the claim may go on at another peer
)

// Queues are the work queues at one peer. Package agent makes it, and calls Changed, Wrote, Turn and Bars.
// Programs use the handles that an agent returns.
type Queues struct {
	host      Host
	cfg       Config
	recovered atomic.Bool // the indexes know everything that earlier runs of this voter have acknowledged

	allMu sync.RWMutex      // guards more and all
	more  chan struct{}     // closed when a queue becomes known, or by Wake; nil if no caller waits for that
	all   map[string]*index // by the name of the queue

	written atomic.Uint64 // number of operations on queues written here; Wrote counts them with the memory's lock held
	indexed atomic.Uint64 // number of those operations that the indexes have taken

	mu         sync.Mutex    // guards the fields below
	advanced   chan struct{} // closed when indexed rises; nil if no caller waits for that
	closed     bool
	endings    []*verdictWrite // endings that wait for the finisher
	finishing  bool            // the finisher runs
	lastWrites []crdt.Op       // endings of claims that were given back because the agent closes
}

// New returns the work queues of a peer, without any queue.
func New(h Host, c Config) *Queues { return &Queues{host: h, cfg: c.withDefaults()} }

// Queue returns a handle on the queue of this name.
func (s *Queues) Queue(name string) Queue { return Queue{s, name} }

// Names returns the names of the queues that this peer knows, sorted.
func (s *Queues) Names() []string {
	s.catchUp(context.Background())
	s.allMu.RLock()
	defer s.allMu.RUnlock()
	return slices.Sorted(maps.Keys(s.all))
}

// voters returns the names of the voters whose majority certifies leases; nil if this peer is its own only
// voter, or in best-effort mode.
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
	for _, x := range list { // in any order: queues do not depend on each other
		f(x)
	}
}

// lookup returns the index of a queue, nil if the queue is not known.
func (s *Queues) lookup(name string) *index {
	s.allMu.RLock()
	defer s.allMu.RUnlock()
	return s.all[name]
}

// index returns the index of a queue, which it makes if the queue is not known.
func (s *Queues) index(name string) *index {
	if x := s.lookup(name); x != nil {
		return x
	}
	s.allMu.Lock()
	defer s.allMu.Unlock()
	x := s.all[name]
	if x == nil {
		if s.all == nil {
			s.all = make(map[string]*index)
		}
		x = s.newIndex(strings.Clone(name)) // name may be part of a key, and the key part of a frame
		s.all[x.name] = x
		s.wakeAll()
	}
	return x
}

func (s *Queues) newIndex(name string) *index {
	return newIndex(name, s.host.Name, s.cfg, s.host.Alive)
}

// wakeAll wakes the callers that wait for a queue to become known. It must be called with allMu held.
func (s *Queues) wakeAll() {
	if s.more != nil {
		close(s.more)
		s.more = nil
	}
}

// another returns a channel that is closed when any queue becomes known; it is closed already if the queue
// of this name is known.
func (s *Queues) another(name string) <-chan struct{} {
	s.allMu.Lock()
	defer s.allMu.Unlock()
	if s.more == nil {
		s.more = make(chan struct{})
	}
	more := s.more
	if s.all[name] != nil {
		s.wakeAll()
	}
	return more
}

// Changed takes the changes of keys. The peer's loop calls it with every change, in order, before it sends
// acknowledgements: an index knows everything that its peer has acknowledged.
func (s *Queues) Changed(changes []crdt.Change) {
	keys := make([]queue.Key, 0, min(len(changes), changedAtOnce)) // keys of changes[i-len(keys):i], all of one queue
	pass := func(list []crdt.Change) {
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
			pass(changes[i-len(keys) : i])
		}
		if ok {
			keys = append(keys, k)
		}
	}
	pass(changes[len(changes)-len(keys):])
}

// changedAtOnce bounds the number of changes for which an index is locked at a time, since a voter that needs
// the index waits meanwhile.
const changedAtOnce = 64

// Wrote counts the operations of a write at this peer. The memory calls it with its lock held. Calls that read
// a queue wait until its index has taken them.
func (s *Queues) Wrote(ops []crdt.Op) {
	for i := range ops {
		if _, ok := queue.ParseKey(ops[i].Key); ok {
			s.written.Add(1)
		}
	}
}

// advance records that the indexes have taken the first n operations that were written here.
func (s *Queues) advance(n uint64) {
	if s.indexed.Swap(n) == n {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.advanced != nil {
		close(s.advanced)
		s.advanced = nil
	}
}

// catchUp waits until the indexes have taken everything that was written here before the call, so that a
// caller reads its own writes. The loop passes the changes to the indexes some time after a write returned.
// catchUp stops waiting when ctx ends.
func (s *Queues) catchUp(ctx context.Context) {
	for want := s.written.Load(); s.indexed.Load() < want; {
		s.host.Memory.Forbid()
		s.mu.Lock()
		if s.advanced == nil {
			s.advanced = make(chan struct{})
		}
		advanced := s.advanced
		s.mu.Unlock()
		if s.indexed.Load() >= want {
			return
		}
		select {
		case <-advanced:
		case <-ctx.Done():
			return
		}
	}
}

// Bars reports whether this voter must not certify a lock under token. The voter of this peer calls it in every
// round for a lock. Until the voter knows what its earlier runs have acknowledged, it certifies no claim.
func (s *Queues) Bars(lock string, token uint64) bool {
	name, id, ok := queue.ParseLock(lock)
	if !ok {
		return false
	}
	if !s.recovered.Load() {
		return true
	}
	x := s.lookup(name)
	if x == nil {
		return false
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.core.Bars(time.Now(), id, token)
}

// Turn is called within each Turn of the memory. The loop calls indexed after it has passed the changes of that
// turn to Changed. From then on the indexes know what was written here before the turn and, if this voter had
// synced with enough others by then, what its earlier runs have acknowledged.
func (s *Queues) Turn(r *replica.Replica) (indexed func()) {
	written := s.written.Load()
	recovering := !s.recovered.Load() && queue.Recovered(s.voters(), s.host.Name, r.View().SyncedWith(), s.host.FirstBoot)
	return func() {
		s.advance(written)
		if recovering {
			s.recovered.Store(true)
		}
	}
}

// Abandon makes callers stop waiting for a Turn. The loop calls it at its end.
func (s *Queues) Abandon() { s.advance(math.MaxUint64) }

// Wake makes all callers that wait check again whether a majority of voters is up. It is called when peers have
// come or gone.
func (s *Queues) Wake() {
	s.allMu.Lock()
	s.wakeAll()
	s.allMu.Unlock()
	s.each(func(x *index) { x.do(func(core *queue.Index, now time.Time) { core.WakeAll(now) }) })
}

// Close makes later endings of claims fail with agent.ErrClosed, and stops the timers.
func (s *Queues) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.each((*index).stop)
}

// Stats returns a reading of all queues, by name.
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

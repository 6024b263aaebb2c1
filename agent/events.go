package agent

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/sentinel-peer/sentinel-peer/agent/fleet"
	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
	"github.com/sentinel-peer/sentinel-peer/clock"
)

// EventType is what a LifecycleEvent tells.
type EventType string

// The types of a LifecycleEvent.
const (
	Wrote            EventType = "write"
	Deleted          EventType = "delete"
	Expired          EventType = "expired"
	ConflictResolved EventType = "conflict-resolved"
	BatchFlushed     EventType = "batch-flushed"
	Subscribed       EventType = "subscribed"
	Unsubscribed     EventType = "unsubscribed"
	CacheCleared     EventType = "cache-cleared"
	ForcedSync       EventType = "force-sync"
	PeerJoined       EventType = "peer-joined"
	PeerLeft         EventType = "peer-left"
	LockLost         EventType = "lock-lost"
	LockLapsed       EventType = "lock-lapsed" // its time ran out here; its client may have renewed or released it at another peer
	Lagged           EventType = "lagged"

	TaskStateSynced    EventType = fleet.TaskStateSynced    // of a task, here or by a merge
	WorkerStatusSynced EventType = fleet.WorkerStatusSynced // of a worker
	AgentCoordinated   EventType = fleet.AgentCoordinated   // in a task, by an agent: task/agent
	QueueSynced        EventType = fleet.QueueSynced        // queue, assignments or metrics

	ItemClaimed   EventType = workqueue.ItemClaimed   // of a work queue, through this peer: queue/id
	ItemCompleted EventType = workqueue.ItemCompleted // validly
	ItemFailed    EventType = workqueue.ItemFailed    // and will be tried again
	ItemDead      EventType = workqueue.ItemDead      // and will not
	ClaimLost     EventType = workqueue.ClaimLost     // before it was finished
	ClaimLapsed   EventType = workqueue.ClaimLapsed   // its lease ended here; it may go on, or be finished, at another peer

	Shutdown EventType = "shutdown"
)

// LifecycleEvent is one thing that happened to this peer.
type LifecycleEvent struct {
	Type   EventType
	Name   string // a key, an id, a pattern or a peer, by Type
	Count  int    // frames of a batch, entries of a cache, by Type
	Change *Event // of a write, delete, expiry or conflict
}

// EventStream delivers lifecycle events. A reader that is too slow loses the
// newest; Dropped counts them.
type EventStream struct {
	C       <-chan LifecycleEvent // closed at the end
	c       chan LifecycleEvent
	dropped atomic.Uint64
}

// Dropped returns how many events the reader missed.
func (s *EventStream) Dropped() uint64 { return s.dropped.Load() }

// bus is where lifecycle events go.
type bus struct {
	mu      sync.Mutex
	streams map[*EventStream]struct{}
	count   atomic.Int32
	closed  bool
}

const eventBuffer = 256 // a burst of a batch interval

// Events returns everything that happens to this peer from now on, until ctx ends
// or the agent closes.
func (a *Agent) Events(ctx context.Context) *EventStream {
	s := &EventStream{c: make(chan LifecycleEvent, eventBuffer)}
	s.C = s.c
	b := &a.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		close(s.c)
		return s
	}
	if b.streams == nil {
		b.streams = make(map[*EventStream]struct{})
	}
	b.streams[s] = struct{}{}
	b.count.Add(1)
	context.AfterFunc(ctx, func() { b.end(s) })
	return s
}

func (b *bus) end(s *EventStream) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.streams[s]; ok {
		delete(b.streams, s)
		b.count.Add(-1)
		close(s.c)
	}
}

// wanted reports whether anybody listens.
func (b *bus) wanted() bool { return b.count.Load() > 0 }

func (b *bus) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for s := range b.streams {
		delete(b.streams, s)
		b.count.Add(-1)
		close(s.c)
	}
}

// emit tells whoever listens; it never waits.
func (b *bus) emit(e LifecycleEvent) {
	if !b.wanted() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range b.streams {
		select {
		case s.c <- e:
		default:
			s.dropped.Add(1)
		}
	}
}

// emitChange tells what happened to a key.
func (b *bus) emitChange(e Event) {
	kind := map[Cause]EventType{CausePut: Wrote, CauseDelete: Deleted, CauseExpired: Expired, CauseConflict: ConflictResolved}[e.Cause]
	b.emit(LifecycleEvent{Type: kind, Name: e.Key, Change: &e})
	if e.Cause == CausePut {
		if kind, ids := fleet.Event(e.Key); kind != "" {
			b.emit(LifecycleEvent{Type: EventType(kind), Name: ids, Change: &e})
		}
	}
	if e.Order == clock.Concurrent && e.Cause != CauseConflict {
		b.emit(LifecycleEvent{Type: ConflictResolved, Name: e.Key, Change: &e})
	}
}

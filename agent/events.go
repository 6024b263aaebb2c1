package agent

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/sentinel-peer/sentinel-peer/agent/fleet"
	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
	"github.com/sentinel-peer/sentinel-peer/clock"
)

// EventType is the type of a LifecycleEvent.
type EventType string

// The types of a LifecycleEvent. Each comment says when the event occurs and what its Name is.
const (
	Wrote            EventType = "write"             // a key was written, here or by a merge: the key
	Deleted          EventType = "delete"            // a key was deleted: the key
	Expired          EventType = "expired"           // a key reached its expiry: the key
	ConflictResolved EventType = "conflict-resolved" // two concurrent writes met: the key
	BatchFlushed     EventType = "batch-flushed"     // Count frames were handed to the transport
	Subscribed       EventType = "subscribed"        // a subscription began: its pattern
	Unsubscribed     EventType = "unsubscribed"      // a subscription ended: its pattern
	CacheCleared     EventType = "cache-cleared"     // Count decoded values were dropped from the cache
	ForcedSync       EventType = "force-sync"        // a ForceSync succeeded
	PeerJoined       EventType = "peer-joined"       // another peer came up: its name
	PeerLeft         EventType = "peer-left"         // another peer left or is down: its name
	LockLost         EventType = "lock-lost"         // a lease ended before it was unlocked: the lock
	LockLapsed       EventType = "lock-lapsed"       // the time of a client's lease ran out here, and the client may have it at another peer: the lock
	Lagged           EventType = "lagged"            // a subscriber missed events: its pattern

	TaskStateSynced    EventType = fleet.TaskStateSynced    // the state of a task changed: the task
	WorkerStatusSynced EventType = fleet.WorkerStatusSynced // the status of a worker changed: the worker
	AgentCoordinated   EventType = fleet.AgentCoordinated   // an agent's record in a task changed: task/agent
	QueueSynced        EventType = fleet.QueueSynced        // the fleet's queue changed: queue, assignments or metrics

	ItemClaimed   EventType = workqueue.ItemClaimed   // a worker claimed an item through this peer: queue/id
	ItemCompleted EventType = workqueue.ItemCompleted // a completion through this peer is valid: queue/id
	ItemFailed    EventType = workqueue.ItemFailed    // an item failed and will be tried again: queue/id
	ItemDead      EventType = workqueue.ItemDead      // an item failed too often: queue/id
	ClaimLost     EventType = workqueue.ClaimLost     // a claim ended before it was finished: queue/id
	ClaimLapsed   EventType = workqueue.ClaimLapsed   // the lease of a bearer's claim ended here, and the claim may go on at another peer: queue/id

	Shutdown EventType = "shutdown" // Close was called
)

// LifecycleEvent is one event at this peer.
type LifecycleEvent struct {
	Type   EventType
	Name   string // the key, id, pattern or peer that the event concerns, see the types
	Count  int    // number of frames or of values, for types that have one
	Change *Event // change of the key, for types of which Name is a key and for records of the fleet
}

// EventStream delivers lifecycle events. When its buffer is full, a new event is dropped, and
// Dropped counts it.
type EventStream struct {
	C       <-chan LifecycleEvent // closed at the end of the stream
	c       chan LifecycleEvent
	dropped atomic.Uint64
}

// Dropped returns how many events were dropped because the reader was too slow.
func (s *EventStream) Dropped() uint64 { return s.dropped.Load() }

// bus distributes lifecycle events to the streams that are open.
type bus struct {
	mu      sync.Mutex
	streams map[*EventStream]struct{}
	count   atomic.Int32 // number of streams, read without mu
	closed  bool
}

const eventBuffer = 256 // events that wait for a stream's reader: about one batch interval's worth

// Events returns a stream of all lifecycle events of this peer from now on. It ends when ctx ends or
// the agent closes.
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

// wanted reports whether any stream is open.
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

// emit gives e to every stream. It never waits.
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

// emitChange emits the events of a change of a key: one for its cause, and further ones if the key is
// a record of the fleet or the write met a concurrent one.
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

package agent

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/backlog"
	"github.com/sentinel-peer/sentinel-peer/internal/memory"
)

// Cause says what an Event tells.
type Cause string

// The causes of an Event.
const (
	CausePut      Cause = "put"      // the key, or part of it, was written
	CauseDelete   Cause = "delete"   // the key is gone
	CauseExpired  Cause = "expired"  // the key, or part of it, reached its expiry
	CauseConflict Cause = "conflict" // a concurrent write lost; the value is as before
	CauseSnapshot Cause = "snapshot" // a key as it stands
	CauseSynced   Cause = "synced"   // the snapshot is complete; no key
	CauseLagged   Cause = "lagged"   // events were missed; all that was known is void, a snapshot follows; no key
)

// Event is one thing a subscriber hears. The values are immutable.
type Event struct {
	Key    string
	Kind   crdt.Kind
	Cause  Cause
	Old    crdt.Value // before, if this peer had it rendered; absent if there was none
	New    crdt.Value // after; absent if there is none
	Writer string     // name of the worker that wrote it
	Dot    clock.Dot
	Stamp  clock.Timestamp
	Order  clock.Order // of the write to what it met: After, or Concurrent
	Local  bool        // written on this peer
	Cursor Cursor      // where to resume after this event; zero within a snapshot
}

// size is about what an event keeps from being freed.
func (e *Event) size() int { return len(e.Key) + len(e.Old.Raw()) + len(e.New.Raw()) }

// Cursor is a place in this peer's stream of events. It is good for this run of
// the peer; on another, or too late, resuming starts with a lagged event and a
// snapshot.
type Cursor struct {
	epoch clock.Actor
	seq   uint64
}

// IsZero reports whether c is no place at all.
func (c Cursor) IsZero() bool { return c.epoch.IsZero() }

// String returns the cursor as text.
func (c Cursor) String() string { return c.epoch.String() + "." + strconv.FormatUint(c.seq, 10) }

// ParseCursor reads what Cursor.String writes.
func ParseCursor(s string) (Cursor, error) {
	epoch, seq, ok := strings.Cut(s, ".")
	a, err1 := clock.ParseActor(epoch)
	n, err2 := strconv.ParseUint(seq, 10, 64)
	if !ok || err1 != nil || err2 != nil {
		return Cursor{}, fmt.Errorf("cursor %q: want the id of an earlier event", s)
	}
	return Cursor{a, n}, nil
}

// WatchOption changes a subscription.
type WatchOption func(*Subscription)

// WithSnapshot first sends every matching key as it stands, then a synced event.
func WithSnapshot() WatchOption { return func(s *Subscription) { s.snapshot = true } }

// FromCursor goes on after the event with that cursor. A snapshot is sent only if it
// is too late for that.
func FromCursor(c Cursor) WatchOption { return func(s *Subscription) { s.from = c } }

// Buffer sets how many events the subscriber may be behind, at least one.
func Buffer(n int) WatchOption { return func(s *Subscription) { s.queue.Limit = max(n, 1) } }

// watchers is everyone who listens, and the history for those who resume.
type watchers struct {
	epoch clock.Actor

	mu      sync.Mutex // orders publishing and subscribing
	subs    subscriptions
	closed  bool
	history history
}

// Watch subscribes to the keys that match pattern, until ctx ends, Close, or the
// agent closes. See Keys for patterns.
func (a *Agent) Watch(ctx context.Context, pattern string, opts ...WatchOption) (*Subscription, error) {
	p, err := crdt.CompilePattern(pattern)
	if err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	ctx, stop := context.WithCancel(ctx)
	s := &Subscription{a: a, pattern: p, out: make(chan Event), queue: backlog.Queue[Event]{Limit: a.cfg.WatchBuffer, Bytes: subscriptionBytes}, stop: stop, wake: make(chan struct{}, 1)}
	for _, o := range opts {
		o(s)
	}
	if !a.watch.join(ctx, s) {
		stop()
		return nil, ErrClosed
	}
	a.bus.emit(LifecycleEvent{Type: Subscribed, Name: pattern})
	return s, nil
}

// Cursor returns the place of this moment in this peer's stream of events.
func (a *Agent) Cursor() Cursor {
	w := &a.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	w.history.start()
	return Cursor{w.epoch, w.history.last}
}

// join makes s hear of what is published from now on, unless nothing will be.
func (w *watchers) join(ctx context.Context, s *Subscription) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || s.a.mem.Closed() {
		return false
	}
	w.history.start()
	s.idle = !s.snapshot
	if !s.from.IsZero() {
		s.resume(w)
	}
	w.subs.add(s)
	s.a.wg.Go(func() { s.run(ctx) }) // under the lock: not after Close began to wait
	return true
}

func (w *watchers) cursor() Cursor {
	w.mu.Lock()
	defer w.mu.Unlock()
	return Cursor{w.epoch, w.history.last}
}

func (w *watchers) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.subs.count
}

func (w *watchers) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.subs.each((*Subscription).Close)
	w.closed = true
}

// publish tells subscribers what changed. Only the loop calls it.
func (a *Agent) publish(changes []crdt.Change) {
	if len(changes) == 0 {
		return
	}
	a.mem.Changed(changes)
	a.queues.Changed(changes)
	a.fleet.Changed(changes)
	if !a.bus.wanted() && a.watch.skip(len(changes)) {
		return
	}
	events := eventsOf(a.mem, changes, a.WriterName)
	a.watch.publish(events)
	if a.bus.wanted() {
		for _, e := range events {
			a.bus.emitChange(e)
		}
	}
}

// skip counts n events that need not exist, for nobody ever listened.
func (w *watchers) skip(n int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.history.started() {
		return false
	}
	w.history.last += uint64(n)
	return true
}

func (w *watchers) publish(events []Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range events {
		e := &events[i]
		e.Cursor = Cursor{w.epoch, w.history.last + 1}
		w.history.add(*e)
		w.subs.of(e.Key, func(s *Subscription) { s.offer(*e) })
	}
}

// eventsOf makes what happened to keys out of what changed in the store. A resolver of the
// user's may run: no lock is held.
func eventsOf(m *memory.Memory, changes []crdt.Change, nameOf func(clock.Actor) string) []Event {
	told := crdt.Notifications(changes, func(key string) (crdt.Value, crdt.Kind, bool) {
		entry, ok := m.PeekEntry(key)
		if !ok {
			return crdt.Value{}, 0, false
		}
		v, err := m.Resolve(key, entry)
		if err != nil {
			v = crdt.Value{}
		}
		return v, entry.Kind(), true
	})
	events := make([]Event, len(told))
	for i, c := range told {
		events[i] = Event{
			Key: c.Key, Kind: c.Kind, Cause: Cause(c.Cause.String()), Old: c.Old, New: c.New,
			Writer: nameOf(c.Dot.Actor), Dot: c.Dot, Stamp: c.Stamp, Order: c.Order, Local: c.Local,
		}
	}
	return events
}

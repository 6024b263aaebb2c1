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

// Cause says why a subscriber gets an Event.
type Cause string

// The causes of an Event.
const (
	CausePut      Cause = "put"      // the key, or part of it, was written
	CauseDelete   Cause = "delete"   // the key was deleted
	CauseExpired  Cause = "expired"  // the key, or part of it, reached its expiry
	CauseConflict Cause = "conflict" // a concurrent write lost; the value of the key is unchanged
	CauseSnapshot Cause = "snapshot" // the event is part of a snapshot: New is the current value
	CauseSynced   Cause = "synced"   // the snapshot is complete; the event has no key
	CauseLagged   Cause = "lagged"   // events were missed, and a snapshot follows; the event has no key
)

// Event is one event of a subscription: a change of a key, or a mark of a snapshot. The values are
// immutable.
//
// The event of a set or an object that takes more than 64 KiB (crdt.WholeBytes) is Partial: it has
// neither Old nor New, and Parts says what changed. A subscriber that keeps a copy of the value
// applies the parts in their order. If there are none, it reads the key: too much has changed, the
// key has just become large, or concurrent writes contradict each other. A snapshot has the whole.
type Event struct {
	Key     string
	Kind    crdt.Kind
	Cause   Cause
	Old     crdt.Value      // value before, if this peer had rendered it; the zero Value if there was none
	New     crdt.Value      // value after; the zero Value if there is none
	Partial bool            // the change of a large set or object: see Parts
	Parts   []crdt.Part     // what changed of a large set or object, up to crdt.MaxParts
	Writer  string          // name of the peer that wrote it
	Dot     clock.Dot       // dot of the write
	Stamp   clock.Timestamp // timestamp of the write
	Order   clock.Order     // how the write relates to the state that it met: After, or Concurrent
	Local   bool            // the write was made at this peer
	Cursor  Cursor          // position to resume from after this event; zero within a snapshot
}

// size returns about how many bytes e keeps from being freed.
func (e *Event) size() int {
	n := len(e.Key) + len(e.Old.Raw()) + len(e.New.Raw())
	for i := range e.Parts {
		n += len(e.Parts[i].Value.Raw()) + partBytes
		for _, name := range e.Parts[i].Path {
			n += len(name) + partBytes
		}
	}
	return n
}

// partBytes is about how many bytes a part, and a name on its path, take beside their text.
const partBytes = 32

// Cursor is a position in the stream of events of one run of a peer. A subscription that resumes from
// it at another peer or run, or when the events after it are not kept any more, begins with a lagged
// event and a snapshot.
type Cursor struct {
	epoch clock.Actor // actor with which the run began
	seq   uint64      // sequence number of the latest event
}

// IsZero reports whether c is the zero Cursor, which is no position.
func (c Cursor) IsZero() bool { return c.epoch.IsZero() }

// String returns the cursor as text.
func (c Cursor) String() string { return c.epoch.String() + "." + strconv.FormatUint(c.seq, 10) }

// ParseCursor returns the cursor whose String is s.
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

// WithSnapshot makes the subscription begin with a snapshot: an event for every matching key with its
// current value, and then a synced event.
func WithSnapshot() WatchOption { return func(s *Subscription) { s.snapshot = true } }

// FromCursor makes the subscription begin with the events after c. If they are not all kept any more,
// it begins with a lagged event and a snapshot. It overrides WithSnapshot.
func FromCursor(c Cursor) WatchOption { return func(s *Subscription) { s.from = c } }

// Buffer sets how many events may wait for the subscriber, at least one: Config.WatchBuffer by default.
func Buffer(n int) WatchOption { return func(s *Subscription) { s.queue.Limit = max(n, 1) } }

// watchers are the open subscriptions, and the history of events for those that resume.
type watchers struct {
	epoch clock.Actor // actor with which this run began

	mu      sync.Mutex // serialises publishing and subscribing; it guards the fields below
	subs    subscriptions
	closed  bool
	history history
}

// Watch subscribes to the keys that match pattern: see Keys. The subscription ends when ctx ends, when
// its Close is called, or when the agent closes. Watch fails if pattern is not valid, and with
// ErrClosed.
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

// Cursor returns the current position in this peer's stream of events.
func (a *Agent) Cursor() Cursor {
	w := &a.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	w.history.start()
	return Cursor{w.epoch, w.history.last}
}

// join starts s, which gets the events that are published from now on. It returns false after Close.
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
	s.a.wg.Go(func() { s.run(ctx) }) // with mu held, so that Close, which sets closed first, waits for it
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

// publish passes changes to everything at this peer that follows them: the cache, the work queues, the
// records of the fleet, and then the subscribers. Only the loop calls it.
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

// skip counts n events without making them. It returns false if there has been a subscription, which
// needs the events.
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

// eventsOf returns the events that changes of the store amount to. It must be called without locks,
// since it may run a resolver of the user.
func eventsOf(m *memory.Memory, changes []crdt.Change, nameOf func(clock.Actor) string) []Event {
	m.Describe(changes)
	notifications := crdt.Notifications(changes, func(key string) (crdt.Value, crdt.Kind, bool) {
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
	events := make([]Event, len(notifications))
	for i, c := range notifications {
		events[i] = Event{
			Key: c.Key, Kind: c.Kind, Cause: Cause(c.Cause.String()), Old: c.Old, New: c.New,
			Writer: nameOf(c.Dot.Actor), Dot: c.Dot, Stamp: c.Stamp, Order: c.Order, Local: c.Local,
		}
		events[i].Parts, events[i].Partial = c.Parts()
	}
	return events
}

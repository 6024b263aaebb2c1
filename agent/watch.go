package agent

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
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
	CauseLagged   Cause = "lagged"   // events were missed; a snapshot follows; no key
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
	Cursor Cursor      // where to resume after this event
}

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

// FromCursor goes on after the event with that cursor.
func FromCursor(c Cursor) WatchOption { return func(s *Subscription) { s.from = c } }

// Buffer sets how many events the subscriber may be behind.
func Buffer(n int) WatchOption { return func(s *Subscription) { s.limit = n } }

// Subscription delivers events of keys that match a pattern, in order per key.
// A subscriber that falls behind its buffer gets one lagged event and then the
// current state; nothing is skipped in silence.
type Subscription struct {
	a        *Agent
	pattern  crdt.Pattern
	out      chan Event
	limit    int
	snapshot bool
	from     Cursor
	stop     context.CancelFunc
	missed   atomic.Uint64

	mu     sync.Mutex
	queue  []Event
	lagged bool
	wake   chan struct{}
}

// C delivers the events. It is closed when the subscription ends.
func (s *Subscription) C() <-chan Event { return s.out }

// Missed returns how many events were replaced by snapshots so far.
func (s *Subscription) Missed() uint64 { return s.missed.Load() }

// Close ends the subscription. It may be called again.
func (s *Subscription) Close() { s.stop() }

// watchers is everyone who listens, and the history for those who resume.
type watchers struct {
	a     *Agent
	epoch clock.Actor

	mu      sync.Mutex // orders publishing and subscribing
	subs    subscriptions
	closed  bool
	seq     uint64
	history []Event // ring, by seq, once somebody listened
	first   uint64  // oldest event in it
	bytes   int
	limit   int
}

const historyBytes = 16 << 20

func (w *watchers) open(a *Agent, limit int) {
	w.a, w.epoch, w.limit = a, a.replica.Actor(), limit
	w.first = 1
}

// Watch subscribes to the keys that match pattern, until ctx ends, Close, or the
// agent closes. See Keys for patterns.
func (a *Agent) Watch(ctx context.Context, pattern string, opts ...WatchOption) (*Subscription, error) {
	p, err := crdt.CompilePattern(pattern)
	if err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	ctx, stop := context.WithCancel(ctx)
	s := &Subscription{a: a, pattern: p, out: make(chan Event), limit: a.cfg.WatchBuffer, stop: stop, wake: make(chan struct{}, 1)}
	for _, o := range opts {
		o(s)
	}
	w := &a.watch
	w.mu.Lock()
	if w.closed || a.isClosed() {
		w.mu.Unlock()
		stop()
		return nil, ErrClosed
	}
	if !s.from.IsZero() {
		s.resume(w)
	}
	if w.history == nil {
		w.history = make([]Event, w.limit)
		w.first = w.seq + 1
	}
	w.subs.add(s)
	w.mu.Unlock()
	a.wg.Go(func() { s.run(ctx) })
	a.emit(LifecycleEvent{Type: Subscribed, Name: pattern})
	return s, nil
}

// resume queues the events after the cursor, or has the subscriber start over.
func (s *Subscription) resume(w *watchers) {
	if s.from.epoch != w.epoch || s.from.seq+1 < w.first || s.from.seq > w.seq {
		s.lagged = true
		return
	}
	for seq := s.from.seq + 1; seq <= w.seq; seq++ {
		if e := w.history[seq%uint64(len(w.history))]; s.pattern.Match(e.Key) {
			s.queue = append(s.queue, e)
		}
	}
}

// run delivers until ctx ends. Only it sends on out.
func (s *Subscription) run(ctx context.Context) {
	defer close(s.out)
	defer s.leave()
	defer s.stop()
	if s.snapshot && !s.state(ctx) {
		return
	}
	for {
		s.mu.Lock()
		queue, lagged := s.queue, s.lagged
		s.queue, s.lagged = nil, false
		s.mu.Unlock()
		if lagged {
			s.a.emit(LifecycleEvent{Type: Lagged, Name: s.pattern.String()})
			if !s.send(ctx, Event{Cause: CauseLagged}) || !s.state(ctx) {
				return
			}
			continue
		}
		for _, e := range queue {
			if !s.send(ctx, e) {
				return
			}
		}
		if len(queue) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-s.a.closed:
			return
		case <-s.wake:
		}
	}
}

func (s *Subscription) send(ctx context.Context, e Event) bool {
	select {
	case s.out <- e:
		return true
	case <-ctx.Done():
	case <-s.a.closed:
	}
	return false
}

// state sends every matching key as it stands. Events of meanwhile queue up behind
// it, so that what the subscriber knows in the end is current.
func (s *Subscription) state(ctx context.Context) bool {
	cursor := s.a.watch.cursor()
	for _, key := range s.a.keys(s.pattern.Match) {
		e, ok := s.a.entry(key)
		if !ok {
			continue
		}
		v, err := s.a.resolve(key, e)
		if err != nil {
			s.a.log.Warn("cannot resolve", "key", key, "err", err)
			continue
		}
		dot := e.Dot()
		ev := Event{Key: key, Kind: e.Kind(), Cause: CauseSnapshot, New: v, Writer: s.a.WriterName(dot.Actor), Dot: dot, Stamp: e.Stamp(), Order: clock.After, Cursor: cursor}
		if !s.send(ctx, ev) {
			return false
		}
	}
	return s.send(ctx, Event{Cause: CauseSynced, Cursor: cursor})
}

func (s *Subscription) leave() {
	w := &s.a.watch
	w.mu.Lock()
	w.subs.remove(s)
	w.mu.Unlock()
	s.a.emit(LifecycleEvent{Type: Unsubscribed, Name: s.pattern.String()})
}

// offer queues an event. Past its limit the queue is given up for a snapshot.
func (s *Subscription) offer(e Event) {
	s.mu.Lock()
	switch {
	case s.lagged:
		s.missed.Add(1)
	case len(s.queue) >= s.limit:
		s.missed.Add(uint64(len(s.queue)) + 1)
		s.queue, s.lagged = nil, true
	default:
		s.queue = append(s.queue, e)
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (w *watchers) cursor() Cursor {
	w.mu.Lock()
	defer w.mu.Unlock()
	return Cursor{w.epoch, w.seq}
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

// publish tells subscribers what changed. Keys that are not plain registers are
// rendered once for a run of changes.
func (a *Agent) publish(changes []crdt.Change) {
	if len(changes) == 0 {
		return
	}
	a.cache.changed(a.store, changes)
	w := &a.watch
	w.mu.Lock()
	if w.subs.count == 0 && w.history == nil && !a.bus.wanted() {
		w.seq += uint64(len(changes))
		w.mu.Unlock()
		return
	}
	var events []Event
	last := make(map[string]int) // of keys to be rendered: their last change
	old := make(map[string]crdt.Value)
	for i, c := range changes {
		if c.Lazy {
			if _, ok := last[c.Key]; !ok {
				old[c.Key] = c.Old
			}
			last[c.Key] = i
		}
	}
	for i, c := range changes {
		e := Event{
			Key: c.Key, Kind: c.Kind, Cause: Cause(c.Cause.String()), Old: c.Old, New: c.New,
			Writer: a.WriterName(c.Dot.Actor), Dot: c.Dot, Stamp: c.Stamp, Order: c.Order, Local: c.Local,
		}
		if c.Lazy {
			if last[c.Key] != i && c.Cause != crdt.CauseConflict {
				continue
			}
			e.Old = old[c.Key]
			a.renderEvent(&e)
		}
		w.seq++
		e.Cursor = Cursor{w.epoch, w.seq}
		w.keep(e)
		w.subs.of(e.Key, func(s *Subscription) { s.offer(e) })
		events = append(events, e)
	}
	w.mu.Unlock()
	if a.bus.wanted() {
		for _, e := range events {
			a.emitChange(e)
		}
	}
}

// renderEvent fills in what a key of many parts holds now.
func (a *Agent) renderEvent(e *Event) {
	entry, ok := a.entry(e.Key)
	if !ok {
		if e.Cause == CausePut {
			e.Cause = CauseDelete
		}
		return
	}
	e.Kind = entry.Kind()
	if v, err := a.resolve(e.Key, entry); err == nil {
		e.New = v
	}
	if e.Cause == CauseDelete {
		e.Cause = CausePut // part of it went, the key is still there
	}
}

// keep puts an event into the history, within its bounds.
func (w *watchers) keep(e Event) {
	n := uint64(len(w.history))
	if n == 0 {
		return
	}
	size := func(e Event) int { return len(e.Key) + len(e.Old.Raw()) + len(e.New.Raw()) }
	if w.seq >= w.first+n {
		w.bytes -= size(w.history[w.first%n])
		w.first++
	}
	w.history[w.seq%n] = e
	for w.bytes += size(e); w.bytes > historyBytes && w.first < w.seq; w.first++ {
		w.bytes -= size(w.history[w.first%n])
		w.history[w.first%n] = Event{}
	}
}

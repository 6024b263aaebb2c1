package agent

import (
	"context"
	"sync"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/backlog"
)

// subscriptionBytes bounds the keys and values that wait for one subscriber.
const subscriptionBytes = 16 << 20

// Subscription delivers events of keys that match a pattern, in order per key.
// A subscriber that falls behind its buffer, or by more than 16 MiB of keys and
// values, gets one lagged event and then the current state: it forgets what it knew.
// Nothing is skipped in silence.
type Subscription struct {
	a        *Agent
	pattern  crdt.Pattern
	out      chan Event
	snapshot bool
	from     Cursor
	resumed  []Event // what the history had, to be sent first; bounded by it
	stop     context.CancelFunc
	wake     chan struct{}

	mu    sync.Mutex // guards what follows
	queue backlog.Queue[Event]
	idle  bool // all that came was received
}

// C delivers the events. It is closed when the subscription ends.
func (s *Subscription) C() <-chan Event { return s.out }

// Cursor returns the place of this moment, to resume from, if every event up to it has
// been received; else false: resume after the last one received. It moves on while other
// keys change, so that who hears nothing for long does not resume too late.
func (s *Subscription) Cursor() (Cursor, bool) {
	now := s.a.Cursor() // first: what comes after it may wait
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.idle {
		return Cursor{}, false
	}
	return now, true
}

// Missed returns how many events were replaced by snapshots so far.
func (s *Subscription) Missed() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queue.Missed()
}

// Close ends the subscription. It may be called again.
func (s *Subscription) Close() { s.stop() }

// resume has the events after the cursor sent first; if one may be missing, it has the
// subscriber start over.
func (s *Subscription) resume(w *watchers) {
	s.snapshot = false
	ok := s.from.epoch == w.epoch
	if ok {
		s.resumed, ok = w.history.since(s.from.seq, s.pattern.Match)
	}
	s.idle = ok && len(s.resumed) == 0
	if !ok {
		s.queue.Lag()
	}
}

// run delivers until ctx ends. Only it sends on out.
func (s *Subscription) run(ctx context.Context) {
	defer close(s.out)
	defer s.leave()
	defer s.stop()
	for _, e := range s.resumed {
		if !s.send(ctx, e) {
			return
		}
	}
	s.resumed = nil
	if s.snapshot && !s.state(ctx) {
		return
	}
	for s.deliver(ctx) {
	}
}

// deliver sends what comes next, or waits for it, and reports whether to go on.
func (s *Subscription) deliver(ctx context.Context) bool {
	e, ok, lagged := s.next()
	if lagged {
		s.a.bus.emit(LifecycleEvent{Type: Lagged, Name: s.pattern.String()})
		return s.send(ctx, Event{Cause: CauseLagged}) && s.state(ctx)
	}
	if ok {
		return s.send(ctx, e)
	}
	select {
	case <-ctx.Done():
	case <-s.a.closed:
	case <-s.wake:
		return true
	}
	return false
}

// next takes the first event that waits, or the news that some were given up.
func (s *Subscription) next() (e Event, ok, lagged bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok, lagged = s.queue.Next()
	s.idle = !ok && !lagged
	return e, ok, lagged
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
// it, so that what the subscriber knows in the end is current. Only the end has a
// cursor: who breaks off before has not got everything there is up to it.
func (s *Subscription) state(ctx context.Context) bool {
	cursor := s.a.watch.cursor()
	keys, err := s.a.mem.Keys(ctx, s.pattern.Match)
	if err != nil {
		return false
	}
	for _, key := range keys {
		e, ok := s.a.mem.PeekEntry(key)
		if !ok {
			continue
		}
		v, err := s.a.mem.Resolve(key, e)
		if err != nil {
			s.a.log.Warn("cannot resolve", "key", key, "err", err)
			continue
		}
		dot := e.Dot()
		ev := Event{Key: key, Kind: e.Kind(), Cause: CauseSnapshot, New: v, Writer: s.a.WriterName(dot.Actor), Dot: dot, Stamp: e.Stamp(), Order: clock.After}
		if !s.send(ctx, ev) {
			return false
		}
	}
	return s.send(ctx, Event{Cause: CauseSynced, Cursor: cursor})
}

func (s *Subscription) leave() {
	s.mu.Lock()
	s.idle = false // for good: what comes is not offered
	s.mu.Unlock()
	w := &s.a.watch
	w.mu.Lock()
	w.subs.remove(s)
	w.mu.Unlock()
	s.a.bus.emit(LifecycleEvent{Type: Unsubscribed, Name: s.pattern.String()})
}

// offer queues an event. Past its limit the queue is given up for a snapshot.
func (s *Subscription) offer(e Event) {
	s.mu.Lock()
	s.queue.Offer(e, e.size())
	s.idle = false
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

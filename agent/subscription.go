package agent

import (
	"context"
	"sync"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/backlog"
)

// subscriptionBytes bounds the keys and values that wait for one subscriber, in bytes.
const subscriptionBytes = 16 << 20

// Subscription delivers the events of keys that match a pattern. Events of one key come in order. A
// subscriber for which more than Buffer events wait, or more than 16 MiB of keys and values, gets one
// event with CauseLagged instead of them and then a snapshot of the current state. It must discard the
// state that it built from earlier events. No event is lost without CauseLagged.
type Subscription struct {
	a        *Agent
	pattern  crdt.Pattern
	out      chan Event
	snapshot bool    // the subscription begins with a snapshot
	from     Cursor  // the subscription begins after this event, if it is not zero
	resumed  []Event // events of the history that are sent first; its bounds bound them
	stop     context.CancelFunc
	wake     chan struct{} // holds a token while the queue may have something to deliver

	mu    sync.Mutex // guards the fields below
	queue backlog.Queue[Event]
	idle  bool // the subscriber has received every event so far
}

// C returns the channel that delivers the events. It is closed when the subscription ends.
func (s *Subscription) C() <-chan Event { return s.out }

// Cursor returns the current position in this peer's stream of events, if the subscriber has received
// every event up to it. Otherwise it returns false, and the subscriber resumes after the last event it
// received. The position advances while other keys change, so a subscriber that gets no event for a
// long time can still resume.
func (s *Subscription) Cursor() (Cursor, bool) {
	now := s.a.Cursor() // before idle is read: an event after now may be waiting
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.idle {
		return Cursor{}, false
	}
	return now, true
}

// Missed returns how many events the subscriber missed so far, for which it got snapshots.
func (s *Subscription) Missed() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queue.Missed()
}

// Close ends the subscription. It may be called again.
func (s *Subscription) Close() { s.stop() }

// resume makes the events after the cursor be sent first. If the history does not have all of them,
// the subscription begins with a lagged event and a snapshot.
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

// run delivers events until ctx ends or the agent closes. It alone sends on out.
func (s *Subscription) run(ctx context.Context) {
	defer close(s.out)
	defer s.unsubscribe()
	defer s.stop()
	for _, e := range s.resumed {
		if !s.send(ctx, e) {
			return
		}
	}
	s.resumed = nil
	if s.snapshot && !s.sendSnapshot(ctx) {
		return
	}
	for s.deliver(ctx) {
	}
}

// deliver sends the next event, or waits until one may be there. It reports false when the
// subscription must end.
func (s *Subscription) deliver(ctx context.Context) bool {
	e, ok, lagged := s.next()
	if lagged {
		s.a.bus.emit(LifecycleEvent{Type: Lagged, Name: s.pattern.String()})
		return s.send(ctx, Event{Cause: CauseLagged}) && s.sendSnapshot(ctx)
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

// next takes the oldest event that waits, if ok; lagged reports that events were given up.
func (s *Subscription) next() (e Event, ok, lagged bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok, lagged = s.queue.Next()
	s.idle = !ok && !lagged
	return e, ok, lagged
}

// send hands e to the subscriber. It reports false when the subscription must end.
func (s *Subscription) send(ctx context.Context, e Event) bool {
	select {
	case s.out <- e:
		return true
	case <-ctx.Done():
	case <-s.a.closed:
	}
	return false
}

// sendSnapshot sends the current value of every matching key, and then a synced event. It reports
// false when the subscription must end. Changes during the snapshot wait in the queue behind it, so
// the subscriber's state is current in the end. Only the synced event has a cursor, since a
// subscriber that stops before it has not received every key up to that position.
func (s *Subscription) sendSnapshot(ctx context.Context) bool {
	cursor := s.a.watch.cursor()
	sent := true
	err := s.a.mem.Walk(ctx, s.pattern.Ranges(), s.pattern.Match, func(key string, e crdt.Entry) bool {
		v, err := s.a.mem.Resolve(key, e)
		if err != nil {
			s.a.log.Warn("cannot resolve", "key", key, "err", err)
			return true
		}
		dot := e.Dot()
		sent = s.send(ctx, Event{Key: key, Kind: e.Kind(), Cause: CauseSnapshot, New: v, Writer: s.a.WriterName(dot.Actor), Dot: dot, Stamp: e.Stamp(), Order: clock.After})
		return sent
	})
	if err != nil || !sent {
		return false
	}
	return s.send(ctx, Event{Cause: CauseSynced, Cursor: cursor})
}

// unsubscribe takes s off the subscriptions.
func (s *Subscription) unsubscribe() {
	s.mu.Lock()
	s.idle = false // for good: later events do not reach this queue
	s.mu.Unlock()
	w := &s.a.watch
	w.mu.Lock()
	w.subs.remove(s)
	w.mu.Unlock()
	s.a.bus.emit(LifecycleEvent{Type: Unsubscribed, Name: s.pattern.String()})
}

// offer queues an event for the subscriber.
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

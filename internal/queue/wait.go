package queue

import (
	"slices"
	"time"
)

// line holds the callers that wait for an item, in the order in which they came. Each has a
// number, its turn.
type line struct {
	waiters []uint64 // turns of the callers that wait
	turns   uint64   // the latest turn
	woken   []uint64 // turns that Woken has not returned yet
}

// call wakes the first n callers.
func (l *line) call(n int) {
	n = min(n, len(l.waiters))
	l.woken = append(l.woken, l.waiters[:n]...)
	l.waiters = slices.Delete(l.waiters, 0, n)
}

// Woken returns the turns of the callers that are to call Take now, each of them once. The slice is
// good until the next call of any method.
func (l *line) Woken() []uint64 {
	list := l.woken
	l.woken = l.woken[:0]
	return list
}

// Wait adds a caller that waits for an item, and returns its turn, which Woken returns once when the
// caller should look again.
func (x *Index) Wait(now time.Time) (turn uint64) {
	x.turns++
	x.waiters = append(x.waiters, x.turns)
	x.Tick(now)
	x.wake()
	return x.turns
}

// Leave ends a wait. If the caller was woken already and does not look, the next one is woken
// instead, so that no item is left lying.
func (x *Index) Leave(turn uint64) {
	if i := slices.Index(x.waiters, turn); i >= 0 {
		x.waiters = slices.Delete(x.waiters, i, i+1)
		return
	}
	x.wake()
}

// wake wakes as many callers as there are items to claim.
func (x *Index) wake() {
	if !x.setting.Paused {
		x.call(x.ready.len())
	}
}

// WakeAll wakes all callers. It is called when peers have come or gone: an item whose claimer is
// down may be claimed now.
func (x *Index) WakeAll(now time.Time) {
	for _, e := range slices.Clone(x.ready.doubted.list) {
		x.settle(e, now)
	}
	x.call(len(x.waiters))
}

// Next returns when Tick has something to do; false if no item is delayed or no caller waits.
func (x *Index) Next() (time.Time, bool) {
	if len(x.later.list) == 0 || len(x.waiters) == 0 {
		return time.Time{}, false
	}
	return x.later.list[0].due, true
}

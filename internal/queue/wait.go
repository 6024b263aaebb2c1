package queue

import (
	"slices"
	"time"
)

// line is who waits until there may be something to claim, in the order in which they
// came.
type line struct {
	waiters []uint64
	turns   uint64
	woken   []uint64
}

// call tells the first n to look again.
func (l *line) call(n int) {
	n = min(n, len(l.waiters))
	l.woken = append(l.woken, l.waiters[:n]...)
	l.waiters = slices.Delete(l.waiters, 0, n)
}

// Woken returns who is to look again. The list is good until the next call.
func (l *line) Woken() []uint64 {
	list := l.woken
	l.woken = l.woken[:0]
	return list
}

// Wait enters somebody who waits until there may be something to claim, and returns the
// number by which Woken names him, once.
func (x *Index) Wait(now time.Time) (turn uint64) {
	x.turns++
	x.waiters = append(x.waiters, x.turns)
	x.Tick(now)
	x.wake()
	return x.turns
}

// Leave ends a wait; what it was told goes to the next.
func (x *Index) Leave(turn uint64) {
	if i := slices.Index(x.waiters, turn); i >= 0 {
		x.waiters = slices.Delete(x.waiters, i, i+1)
		return
	}
	x.wake()
}

// wake tells as many waiters as there are items.
func (x *Index) wake() {
	if !x.setting.Paused {
		x.call(x.ready.len())
	}
}

// WakeAll has everybody look again, for peers have come or gone.
func (x *Index) WakeAll(now time.Time) {
	for _, e := range slices.Clone(x.ready.doubted.list) {
		x.settle(e, now)
	}
	x.call(len(x.waiters))
}

// Next returns when Tick has something to do, false if nobody waits for it.
func (x *Index) Next() (time.Time, bool) {
	if len(x.later.list) == 0 || len(x.waiters) == 0 {
		return time.Time{}, false
	}
	return x.later.list[0].due, true
}

package queue

import (
	"slices"
	"time"
)

// Wait enters somebody who waits until there may be something to claim, and returns the
// number by which Woken names him, once.
func (x *Index) Wait(now time.Time) (turn uint64) {
	x.turns++
	x.waiters = append(x.waiters, x.turns)
	x.promote(now)
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

// wake tells as many waiters as there are items, in the order in which they came.
func (x *Index) wake() {
	if x.setting.Paused {
		return
	}
	n := min(len(x.ready.list)+len(x.rest.list), len(x.waiters))
	x.woken = append(x.woken, x.waiters[:n]...)
	x.waiters = slices.Delete(x.waiters, 0, n)
}

// WakeAll has everybody look again, for something else has changed.
func (x *Index) WakeAll() {
	x.woken = append(x.woken, x.waiters...)
	x.waiters = x.waiters[:0]
}

// Woken returns who is to look again. The list is good until the next call.
func (x *Index) Woken() []uint64 {
	list := x.woken
	x.woken = x.woken[:0]
	return list
}

// Next returns when Tick has something to do, false if nobody waits for it.
func (x *Index) Next() (time.Time, bool) {
	if len(x.later.list) == 0 || len(x.waiters) == 0 {
		return time.Time{}, false
	}
	return x.later.list[0].due, true
}

// Tick does what is due.
func (x *Index) Tick(now time.Time) { x.promote(now) }

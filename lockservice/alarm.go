package lockservice

import "time"

// alarm calls run when its time has come. It is embedded in what it wakes, and may be set
// again or stopped at any time.
type alarm struct {
	pos int // position in the heap, counted from 1; 0 if it is not set
	run func(Time)
}

// alarms is a four-ary heap of the alarms that are set: the alarm at position p, counted
// from 1, is due no later than those at the positions 4p-2 to 4p+1. Renewals of 10,000
// leases move alarms all the time, in place and without allocation. To move one takes 40 ns, and
// 77 ns in a container/heap (docs/decisions/0034).
type alarms struct {
	heap []setting
	seq  uint64 // of the latest setting
}

// setting is an alarm with its time. The heap holds the time itself, so that comparing two
// alarms follows no pointer.
type setting struct {
	at  time.Duration
	seq uint64 // orders equal times by when they were set
	*alarm
}

func (s *setting) before(o *setting) bool { return s.at < o.at || s.at == o.at && s.seq < o.seq }

func (h *alarms) set(a *alarm, at time.Duration) {
	h.seq++
	if a.pos == 0 {
		h.heap = append(h.heap, setting{})
		a.pos = len(h.heap)
	}
	h.settle(a.pos, setting{at, h.seq, a})
}

// by sets an alarm unless it is due at that time or earlier already.
func (h *alarms) by(a *alarm, at time.Duration) {
	if a.pos == 0 || h.heap[a.pos-1].at > at {
		h.set(a, at)
	}
}

func (h *alarms) stop(a *alarm) {
	if a.pos == 0 {
		return
	}
	pos, end := a.pos, len(h.heap)-1
	last := h.heap[end]
	h.heap[end] = setting{}
	h.heap = h.heap[:end]
	a.pos = 0
	if pos <= end {
		h.settle(pos, last)
	}
}

// next returns when the first alarm is due.
func (h *alarms) next() (time.Duration, bool) {
	if len(h.heap) == 0 {
		return 0, false
	}
	return h.heap[0].at, true
}

// fire runs the alarms that are due at t, in the order of their times. An alarm that one of
// them sets for t or earlier runs as well.
func (h *alarms) fire(t Time) {
	for len(h.heap) > 0 && h.heap[0].at <= t.Mono {
		a := h.heap[0].alarm
		h.stop(a)
		a.run(t)
	}
}

// settle restores the order of the heap: it moves s up or down from pos, whose entry is free.
func (h *alarms) settle(pos int, s setting) {
	for pos > 1 {
		above := (pos-2)/4 + 1
		if !s.before(&h.heap[above-1]) {
			break
		}
		h.put(pos, h.heap[above-1])
		pos = above
	}
	for {
		least := 0
		for c := 4*pos - 2; c <= min(4*pos+1, len(h.heap)); c++ {
			if least == 0 || h.heap[c-1].before(&h.heap[least-1]) {
				least = c
			}
		}
		if least == 0 || s.before(&h.heap[least-1]) {
			break
		}
		h.put(pos, h.heap[least-1])
		pos = least
	}
	h.put(pos, s)
}

func (h *alarms) put(pos int, s setting) {
	h.heap[pos-1] = s
	s.pos = pos
}

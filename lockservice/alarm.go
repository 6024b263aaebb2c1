package lockservice

import "time"

// alarm calls run once its time has come. Its owner embeds it; it is set anew or
// stopped at will.
type alarm struct {
	pos int // in the heap, from 1; 0: not set
	run func(Time)
}

// alarms is a heap of those that are set: the one at place p, from 1, is due before
// those at the four places from 4p-2 on.
type alarms struct {
	heap []setting
	seq  uint64
}

// setting is an alarm and its time, which a heap of many finds sooner beside it.
type setting struct {
	at  time.Duration
	seq uint64 // orders equal times
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

// by sets an alarm unless it comes by then anyway.
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

// fire runs what is due at t, in order.
func (h *alarms) fire(t Time) {
	for len(h.heap) > 0 && h.heap[0].at <= t.Mono {
		a := h.heap[0].alarm
		h.stop(a)
		a.run(t)
	}
}

// settle puts s where it belongs, from the place at pos, which is free.
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

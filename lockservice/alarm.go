package lockservice

import "time"

// alarm calls run once its time has come. Its owner embeds it; it is set anew or
// stopped at will.
type alarm struct {
	at  time.Duration
	seq uint64 // orders equal times
	pos int    // in the heap, from 1; 0: not set
	run func(Time)
}

// alarms is a heap of those that are set.
type alarms struct {
	heap []*alarm
	seq  uint64
}

func (h *alarms) set(a *alarm, at time.Duration) {
	h.seq++
	a.at, a.seq = at, h.seq
	if a.pos == 0 {
		h.heap = append(h.heap, a)
		a.pos = len(h.heap)
	}
	h.fix(a.pos)
}

func (h *alarms) stop(a *alarm) {
	if a.pos == 0 {
		return
	}
	pos, last := a.pos, len(h.heap)
	h.swap(pos, last)
	h.heap[last-1] = nil
	h.heap = h.heap[:last-1]
	a.pos = 0
	if pos < last {
		h.fix(pos)
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
		a := h.heap[0]
		h.stop(a)
		a.run(t)
	}
}

func (h *alarms) less(i, j int) bool {
	a, b := h.heap[i-1], h.heap[j-1]
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}

func (h *alarms) swap(i, j int) {
	h.heap[i-1], h.heap[j-1] = h.heap[j-1], h.heap[i-1]
	h.heap[i-1].pos, h.heap[j-1].pos = i, j
}

// fix moves the alarm at i to where it belongs.
func (h *alarms) fix(i int) {
	for i > 1 && h.less(i, i/2) {
		h.swap(i, i/2)
		i /= 2
	}
	for {
		least := i
		for _, c := range [2]int{2 * i, 2*i + 1} {
			if c <= len(h.heap) && h.less(c, least) {
				least = c
			}
		}
		if least == i {
			return
		}
		h.swap(i, least)
		i = least
	}
}

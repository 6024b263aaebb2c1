package envelope

// windowSize bounds how far the network may reorder the envelopes of a way: a counter so far behind
// the greatest accepted one, or further, is refused.
const windowSize = 1024

// window remembers which of the last windowSize counters of a way were accepted.
type window struct {
	greatest uint64
	bits     [windowSize / 64]uint64 // bit c%windowSize says that counter c was accepted
}

// fresh reports whether a counter was not accepted before and is inside the window or above it.
func (w *window) fresh(c uint64) bool {
	switch {
	case c > w.greatest:
		return true
	case w.greatest-c >= windowSize:
		return false
	}
	return w.bits[c%windowSize/64]&(1<<(c%64)) == 0
}

// take marks a counter as accepted, and reports whether it was fresh.
func (w *window) take(c uint64) bool {
	if !w.fresh(c) {
		return false
	}
	if c > w.greatest {
		if c-w.greatest >= windowSize {
			w.bits = [windowSize / 64]uint64{}
		} else {
			for g := w.greatest + 1; g < c; g++ {
				w.bits[g%windowSize/64] &^= 1 << (g % 64)
			}
		}
		w.greatest = c
	}
	w.bits[c%windowSize/64] |= 1 << (c % 64)
	return true
}

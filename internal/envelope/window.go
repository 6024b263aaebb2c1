package envelope

// windowSize is how far a counter may lie behind the greatest one that was taken.
const windowSize = 1024

// window remembers which of the last windowSize counters were taken.
type window struct {
	greatest uint64
	bits     [windowSize / 64]uint64 // of counter c: bit c%windowSize
}

// fresh reports whether a counter was not taken, and is not too old to know.
func (w *window) fresh(c uint64) bool {
	switch {
	case c > w.greatest:
		return true
	case w.greatest-c >= windowSize:
		return false
	}
	return w.bits[c%windowSize/64]&(1<<(c%64)) == 0
}

// take notes a counter, and reports whether it was fresh.
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

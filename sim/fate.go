package sim

import (
	"encoding/binary"
	"time"
)

// fate is a small generator of random numbers for one decision, such as the fate of a
// message or the delay of a detection. Its seed is made of the run's seed and the identity
// of the decision. A decision so does not depend on how many came before it, and leaving
// one out changes no other.
type fate uint64

// newFate returns the generator for the decision that the numbers of what identify.
func newFate(seed uint64, what ...uint64) fate {
	f := fate(seed)
	for _, w := range what {
		f = fate(uint64(f) ^ w)
		f.next()
	}
	return f
}

// next returns 64 random bits: one step of SplitMix64 (Steele, Lea, Flood 2014).
func (f *fate) next() uint64 {
	*f += 0x9e3779b97f4a7c15
	x := uint64(*f)
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	x ^= x >> 31
	*f ^= fate(x)
	return x
}

// chance is true with probability p.
func (f *fate) chance(p float64) bool { return float64(f.next()>>11)/(1<<53) < p }

// below returns a number from 0 to n-1.
func (f *fate) below(n int) int { return int(f.next() % uint64(n)) }

// between returns a duration of at least a and less than b, or a if b is not greater.
func (f *fate) between(a, b time.Duration) time.Duration {
	if b <= a {
		return a
	}
	return a + time.Duration(f.next()%uint64(b-a))
}

// mix returns a hash of x, continued from h.
func mix(h, x uint64) uint64 {
	h = (h ^ x) * 0x9e3779b97f4a7c15
	return h ^ h>>29
}

// digest returns a hash of b, continued from h.
func digest(h uint64, b []byte) uint64 {
	for len(b) >= 8 {
		h = mix(h, binary.LittleEndian.Uint64(b))
		b = b[8:]
	}
	for _, c := range b {
		h = (h ^ uint64(c)) * 0x100000001b3
	}
	return (h ^ h>>32) * 0xd6e8feb86659fd93
}

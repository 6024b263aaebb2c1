package clock

import (
	"encoding/binary"

	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

const actorBytes = 14

// AppendActor appends a as a msgpack bin of 14 bytes: 6 of birth, 8 random,
// both big-endian.
func AppendActor(dst []byte, a Actor) []byte {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], a.Birth<<16)
	binary.BigEndian.PutUint64(b[6:14], a.Rand)
	return wire.AppendBin(dst, b[:actorBytes])
}

// ReadActor reads what AppendActor writes. A malformed or zero actor fails r.
func ReadActor(r *wire.Reader) Actor {
	b := r.Bin()
	if r.Err() != nil {
		return Actor{}
	}
	if len(b) != actorBytes {
		r.Fail("actor")
		return Actor{}
	}
	a := Actor{
		Birth: uint64(binary.BigEndian.Uint16(b))<<32 | uint64(binary.BigEndian.Uint32(b[2:])),
		Rand:  binary.BigEndian.Uint64(b[6:]),
	}
	if a.IsZero() {
		r.Fail("actor")
	}
	return a
}

// AppendTo appends c as an array with three elements for each actor, sorted by actor: the
// actor, the base of its span, and an array with two numbers for each range: its
// distance from the end of what precedes it, and its length minus one. Actors of
// which nothing was seen are left out, so equal contexts have equal bytes.
func (c *CausalContext) AppendTo(dst []byte) []byte {
	n := 0
	for _, s := range c.All() {
		if s.Head() > 0 {
			n++
		}
	}
	dst = wire.AppendArray(dst, 3*n)
	for a, s := range c.All() {
		if s.Head() > 0 {
			dst = appendSpan(dst, a, s)
		}
	}
	return dst
}

// AppendListed appends only the listed actors, in the form of AppendTo, including those of
// which nothing was seen.
func (c *CausalContext) AppendListed(dst []byte) []byte {
	dst = wire.AppendArray(dst, 3*len(c.actors))
	for i, a := range c.actors {
		dst = appendSpan(dst, a, c.spans[i])
	}
	return dst
}

func appendSpan(dst []byte, a Actor, s *Span) []byte {
	dst = AppendActor(dst, a)
	dst = wire.AppendUint(dst, s.Base)
	dst = wire.AppendArray(dst, 2*len(s.Ranges))
	end := s.Base
	for _, r := range s.Ranges {
		dst = wire.AppendUint(dst, r.First-end)
		dst = wire.AppendUint(dst, r.Last-r.First)
		end = r.Last
	}
	return dst
}

// ReadContext reads what [CausalContext.AppendTo] writes. It fails, and so does r, on more
// than wire.MaxListed actors, on more than wire.MaxGapRanges ranges in all, on actors that
// are not sorted, on ranges that overlap or touch, and on numbers above MaxSeq.
func ReadContext(r *wire.Reader) (*CausalContext, error) {
	n := r.ArrayLen()
	if n%3 != 0 || n/3 > wire.MaxListed {
		r.Fail("context")
	}
	c := NewContext()
	ranges := 0
	for i := 0; i < n/3 && r.Err() == nil; i++ {
		a := ReadActor(r)
		s := &Span{Base: r.Uint()}
		if s.Base > MaxSeq {
			r.Fail("context base")
		}
		m := r.ArrayLen()
		if ranges += m / 2; m%2 != 0 || ranges > wire.MaxGapRanges {
			r.Fail("context ranges")
			break
		}
		end := s.Base
		for j := 0; j < m/2 && r.Err() == nil; j++ {
			gap, length := r.Uint(), r.Uint()
			first := end + gap
			last := first + length
			if gap < 2 || first < end || last < first || last > MaxSeq {
				r.Fail("context range")
				break
			}
			s.Ranges = append(s.Ranges, Range{first, last})
			end = last
		}
		if at := len(c.actors); at > 0 && c.actors[at-1].Compare(a) >= 0 {
			r.Fail("context actors")
		}
		c.actors, c.spans = append(c.actors, a), append(c.spans, s)
	}
	if r.Err() != nil {
		return nil, r.Err()
	}
	return c, nil
}

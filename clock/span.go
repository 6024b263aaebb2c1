package clock

import "slices"

// Range is a closed interval of sequence numbers.
type Range struct{ First, Last uint64 }

// Span is the set of sequence numbers seen from one actor: all of 1..Base, and
// the Ranges above it. Ranges are sorted, disjoint, not adjacent to each other
// and not adjacent to Base. The zero Span is empty.
type Span struct {
	Base   uint64
	Ranges []Range
}

// Contains reports whether seq has been seen. Sequence number 0 does not exist.
func (s *Span) Contains(seq uint64) bool {
	if seq <= s.Base {
		return seq > 0
	}
	i := s.after(seq)
	return i > 0 && seq <= s.Ranges[i-1].Last
}

// after returns how many ranges begin at seq or before it. Sequence numbers arrive nearly in
// order, so the last range is looked at before the search.
func (s *Span) after(seq uint64) int {
	lo, hi := 0, len(s.Ranges)
	if hi > 0 && s.Ranges[hi-1].First <= seq {
		return hi
	}
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if s.Ranges[mid].First <= seq {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// Add marks seq as seen and reports whether it was new.
func (s *Span) Add(seq uint64) bool {
	if len(s.Ranges) == 0 && seq-1 == s.Base && seq != 0 {
		s.Base = seq
		return true
	}
	return s.add(seq)
}

func (s *Span) add(seq uint64) bool {
	if seq == 0 || s.Contains(seq) {
		return false
	}
	s.AddRange(seq, seq)
	return true
}

// AddRange marks first..last as seen. A last below first marks nothing.
//
// The code compares neighbours by subtracting 1 from a First, which is at least 1, and never
// by adding 1 to a Last, which would wrap around at 2^64-1.
func (s *Span) AddRange(first, last uint64) {
	first = max(first, 1)
	if last < first || last <= s.Base {
		return
	}
	if first-1 <= s.Base {
		s.Base = last
		n := 0
		for n < len(s.Ranges) && s.Ranges[n].First-1 <= s.Base {
			s.Base = max(s.Base, s.Ranges[n].Last)
			n++
		}
		s.Ranges = slices.Delete(s.Ranges, 0, n)
		return
	}
	i := s.after(first)
	if i > 0 && s.Ranges[i-1].Last >= first-1 {
		i--
	}
	j := i
	for j < len(s.Ranges) && s.Ranges[j].First-1 <= last {
		first = min(first, s.Ranges[j].First)
		last = max(last, s.Ranges[j].Last)
		j++
	}
	s.Ranges = slices.Replace(s.Ranges, i, j, Range{first, last})
}

// Head returns the greatest sequence number seen, 0 if none.
func (s *Span) Head() uint64 {
	if n := len(s.Ranges); n > 0 {
		return s.Ranges[n-1].Last
	}
	return s.Base
}

// Missing calls f for each unseen range in 1..upTo, ascending, until f returns false.
func (s *Span) Missing(upTo uint64, f func(Range) bool) {
	if upTo <= s.Base {
		return
	}
	next := s.Base + 1
	for _, r := range s.Ranges {
		if r.First > upTo {
			break
		}
		if !f(Range{next, r.First - 1}) {
			return
		}
		if r.Last >= upTo {
			return
		}
		next = r.Last + 1
	}
	f(Range{next, upTo})
}

// Join adds every number of o to s. It neither changes nor keeps o.
func (s *Span) Join(o *Span) {
	s.AddRange(1, o.Base)
	if len(o.Ranges) > fewRanges && len(s.Ranges) > fewRanges {
		s.joinMany(o.Ranges)
		return
	}
	for _, r := range o.Ranges {
		s.AddRange(r.First, r.Last)
	}
}

// fewRanges is the number of ranges up to which each is inserted by itself.
const fewRanges = 16

// joinMany marks all ranges of o, which are sorted, in one pass over both lists. An insertion of
// each range by itself would move the ranges behind it each time.
func (s *Span) joinMany(o []Range) {
	mine, both := s.Ranges, make([]Range, 0, len(s.Ranges)+len(o))
	for len(mine)+len(o) > 0 {
		from := &mine
		if len(mine) == 0 || len(o) > 0 && o[0].First < mine[0].First {
			from = &o
		}
		r := (*from)[0]
		*from = (*from)[1:]
		switch n := len(both); {
		case r.First-1 <= s.Base:
			s.Base = max(s.Base, r.Last)
		case n > 0 && r.First-1 <= both[n-1].Last:
			both[n-1].Last = max(both[n-1].Last, r.Last)
		default:
			both = append(both, r)
		}
	}
	s.Ranges = both
}

// Covers reports whether s contains every number of o.
func (s *Span) Covers(o *Span) bool {
	if o.Base > s.Base {
		return false
	}
	i := 0
	for _, r := range o.Ranges {
		if r.Last <= s.Base {
			continue
		}
		for i < len(s.Ranges) && s.Ranges[i].Last < r.Last {
			i++
		}
		if i == len(s.Ranges) || s.Ranges[i].First > r.First {
			return false
		}
	}
	return true
}

// Equal reports whether s and o hold the same sequence numbers.
func (s *Span) Equal(o *Span) bool {
	return s.Base == o.Base && slices.Equal(s.Ranges, o.Ranges)
}

// Clone returns a copy that shares no memory with s.
func (s *Span) Clone() *Span {
	return &Span{Base: s.Base, Ranges: slices.Clone(s.Ranges)}
}

// Count returns how many sequence numbers have been seen.
func (s *Span) Count() uint64 {
	n := s.Base
	for _, r := range s.Ranges {
		n += r.Last - r.First + 1
	}
	return n
}

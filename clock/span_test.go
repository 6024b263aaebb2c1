package clock

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// The union of two spans is the same whether it is made in one pass or number by number.
func TestAJoinOfManyRangesIsTheUnion(t *testing.T) {
	many := rapid.Custom(func(t *rapid.T) *Span {
		s := new(Span)
		s.AddRange(1, rapid.Uint64Range(0, 60).Draw(t, "base"))
		for range rapid.IntRange(0, 60).Draw(t, "ranges") {
			first := rapid.Uint64Range(1, 200).Draw(t, "first")
			s.AddRange(first, first+rapid.Uint64Range(0, 3).Draw(t, "length"))
		}
		return s
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := many.Draw(t, "a"), many.Draw(t, "b")
		joined, want := a.Clone(), a.Clone()
		joined.Join(b)
		for n := uint64(1); n <= b.Head(); n++ {
			if b.Contains(n) {
				want.Add(n)
			}
		}
		if !joined.Equal(want) {
			t.Fatalf("%+v joined with %+v is %+v, want %+v", a, b, joined, want)
		}
	})
}

func BenchmarkSpanAddInOrder(b *testing.B) {
	b.ReportAllocs()
	var s Span
	for i := uint64(1); b.Loop(); i++ {
		s.Add(i)
	}
}

// The cost of an addition should not grow with the number of ranges.
func BenchmarkSpanAddEverySecond(b *testing.B) {
	for ranges := uint64(1000); ranges <= 100_000; ranges *= 10 {
		b.Run(fmt.Sprint(ranges), func(b *testing.B) {
			s, next := new(Span), uint64(2)
			for b.Loop() {
				if next > 2*ranges {
					s, next = new(Span), 2
				}
				s.Add(next)
				next += 2
			}
		})
	}
}

func BenchmarkSpanJoinOfInterleavedRanges(b *testing.B) {
	for ranges := uint64(1000); ranges <= 100_000; ranges *= 10 {
		b.Run(fmt.Sprint(ranges), func(b *testing.B) {
			x, y := new(Span), new(Span)
			for n := range ranges {
				x.Add(4*n + 2)
				y.Add(4*n + 4)
			}
			for b.Loop() {
				x.Clone().Join(y)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(ranges), "ns/range")
		})
	}
}

package queue

import (
	"fmt"
	"math/bits"
	"slices"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

func TestPeekIsInTheOrderOfClaims(t *testing.T) {
	s := newShelf(t)
	for i, priority := range []int{1, 9, 5, 9, 0, 5, 7} {
		s.add(t0, Item{ID: string(rune('a' + i)), Priority: priority})
	}
	s.judge(t0, "other", 1, claimHead{State: "claimed", Worker: "n1", TTL: 1000}) // n1 is a rival, so the items are divided into shares
	s.ready.divide(t0)
	var seen []string
	for _, v := range s.Peek(t0, 100) {
		seen = append(seen, v.ID)
	}
	if want := []string{"b", "d", "g", "c", "f", "a", "e"}; !slices.Equal(seen, want) {
		t.Errorf("peeked %v, want %v", seen, want)
	}
	if list := s.Peek(t0, 2); len(list) != 2 || list[0].ID != "b" {
		t.Errorf("peeked %+v, want the first two", list)
	}
}

// crowd returns an index with n items in two shares, and the number of comparisons of items so far.
func crowd(n int) (x *Index, compared *int) {
	x, compared = known(), new(int)
	count := func(a, b *entry) bool { *compared++; return ahead(a, b) }
	x.ready.own.less, x.ready.rest.less = count, count
	x.judge(t0, "other", 1, claimHead{State: "claimed", Worker: "n1", TTL: 1000})
	for i := range n {
		x.item(t0, fmt.Sprint(i), true, itemHead{Priority: i % 7}, clock.Timestamp(i+1))
	}
	x.ready.divide(t0)
	return x, compared
}

// The work of Peek grows with the items that it returns, not with their square or their total.
func TestPeekLooksAtWhatItReturns(t *testing.T) {
	for _, items := range []int{2_000, 20_000} {
		x, compared := crowd(items)
		for _, n := range []int{10, 100, 1_000} {
			*compared = 0
			if len(x.Peek(t0, n)) != n {
				t.Fatal("too few")
			}
			if most := 2 * n * bits.Len(uint(n)+2); *compared < n || *compared > most {
				t.Errorf("%d of %d items: %d comparisons, want %d to %d", n, items, *compared, n, most)
			}
		}
	}
}

func BenchmarkPeekAmongRivals(b *testing.B) {
	for _, items := range []int{1_000, 10_000, 100_000, 1_000_000} {
		x, _ := crowd(items)
		for _, n := range []int{10, 100, 1_000} {
			b.Run(fmt.Sprintf("%d/%d", items, n), func(b *testing.B) {
				for b.Loop() {
					if len(x.Peek(t0, n)) != n {
						b.Fatal("too few")
					}
				}
			})
		}
	}
}

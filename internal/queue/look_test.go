package queue

import (
	"fmt"
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

// The time of Peek among rivals depends on the items that it returns, not on their total.
func BenchmarkPeekAmongRivals(b *testing.B) {
	for _, items := range []int{1_000, 10_000, 100_000} {
		x := known()
		x.judge(t0, "other", 1, claimHead{State: "claimed", Worker: "n1", TTL: 1000})
		for i := range items {
			x.item(t0, fmt.Sprint(i), true, itemHead{Priority: i % 7}, clock.Timestamp(i+1))
		}
		x.ready.divide(t0)
		b.Run(fmt.Sprint(items), func(b *testing.B) {
			for b.Loop() {
				if len(x.Peek(t0, 10)) != 10 {
					b.Fatal("too few")
				}
			}
		})
	}
}

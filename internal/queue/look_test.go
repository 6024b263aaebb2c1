package queue

import (
	"fmt"
	"math/bits"
	"slices"
	"testing"

	"pgregory.net/rapid"

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
	x.ready.less = count
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
			if most := 4 * n * bits.Len(uint(3*n)); *compared < n || *compared > most {
				t.Errorf("%d of %d items: %d comparisons, want %d to %d", n, items, *compared, n, most)
			}
		}
	}
}

// A division of the items among other peers, and a claim after it, cost the same whatever the number
// of items.
func TestADivisionDoesNotLookAtTheItems(t *testing.T) {
	for _, items := range []int{2_000, 20_000} {
		x, compared := crowd(items)
		x.judge(t0, "another", 1, claimHead{State: "claimed", Worker: "n2", TTL: 1000})
		*compared = 0
		if got := x.Take(t0, 1, nil); len(got) != 1 || x.ready.parts != 3 {
			t.Fatalf("%d items are taken, of %d shares", len(got), x.ready.parts)
		}
		if most := shards * bits.Len(shards); *compared == 0 || *compared > most {
			t.Errorf("%d items: %d comparisons, want 1 to %d", items, *compared, most)
		}
	}
}

// Whichever items come and go, and however they are divided, the heaps are in order and complete.
func TestTheFirstOfAShareIsItsBest(t *testing.T) {
	var ids []string // of few shards, so that there are piles with several entries
	for i := 0; len(ids) < 60; i++ {
		if id := fmt.Sprint(i); shardOf(id) < 8 {
			ids = append(ids, id)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		x, there := known(), make(map[string]*entry)
		x.ready.self = "n5"
		t.Repeat(map[string]func(*rapid.T){
			"item": func(t *rapid.T) {
				id, stamp := rapid.SampledFrom(ids).Draw(t, "id"), rapid.IntRange(1, 1000).Draw(t, "stamp")
				x.item(t0, id, true, itemHead{Priority: stamp % 3}, clock.Timestamp(stamp))
				there[id] = x.entries[id]
			},
			"gone": func(t *rapid.T) {
				id := rapid.SampledFrom(ids).Draw(t, "id")
				x.item(t0, id, false, itemHead{}, 0)
				delete(there, id)
			},
			"rivals": func(t *rapid.T) {
				clear(x.ready.rivals)
				for i := range rapid.SampledFrom([]int{0, 1, 2, 7, 300}).Draw(t, "rivals") {
					x.ready.rivals[fmt.Sprint("n", i)] = t0
				}
				x.ready.divide(t0)
			},
			"": func(t *rapid.T) {
				var own, rest []*entry
				for id, e := range there {
					if x.ready.parts < 2 || shardOf(id)%x.ready.parts == x.ready.part {
						own = append(own, e)
					} else {
						rest = append(rest, e)
					}
				}
				for _, c := range []struct {
					s    *stack
					want []*entry
				}{{&x.ready.own, own}, {&x.ready.rest, rest}} {
					if c.s.entries != len(c.want) {
						t.Fatalf("%d entries, want %d", c.s.entries, len(c.want))
					}
					if len(c.want) > 0 && c.s.first() != slices.MinFunc(c.want, order) {
						t.Fatalf("%v is first", c.s.first())
					}
				}
				all := append(own, rest...)
				slices.SortFunc(all, order)
				if !slices.Equal(x.ready.best(len(all)+1), all) {
					t.Fatal("the items are not listed in their order")
				}
			},
		})
	})
}

func order(a, b *entry) int {
	if ahead(a, b) {
		return -1
	}
	return 1
}

func BenchmarkDivision(b *testing.B) {
	for _, items := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprint(items), func(b *testing.B) {
			x, _ := crowd(items)
			for i := 0; b.Loop(); i++ {
				x.ready.rivals["n2"] = t0
				if i%2 == 0 {
					delete(x.ready.rivals, "n2")
				}
				x.ready.divide(t0)
			}
		})
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

package crdt

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

func ascended(s *Store, r KeyRange) (keys []string) {
	s.Ascend(r, func(key string, _ Entry, _ bool) bool {
		keys = append(keys, key)
		return true
	})
	return keys
}

// The ordered index is a sorted map: whatever is written and deleted, and whenever somebody lists.
func TestAscendListsTheKeysOfARangeInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := New(Config{Actor: clock.Actor{Birth: 1, Rand: 1}})
		model := make(map[string]bool)
		key := rapid.StringMatching(`[ab]{1,3}`)
		stamp := clock.Timestamp(0)
		apply := func(op Op) {
			stamp++
			if _, err := s.Apply(stamp, 0, op); err != nil {
				t.Fatal(err)
			}
			model[op.Key] = op.Verb == Put
			s.Recycle(s.Changes())
		}
		t.Repeat(map[string]func(*rapid.T){
			"put":    func(t *rapid.T) { apply(Op{Verb: Put, Key: key.Draw(t, "key"), Value: text(1)}) },
			"delete": func(t *rapid.T) { apply(Op{Verb: Delete, Key: key.Draw(t, "key")}) },
			"list": func(t *rapid.T) {
				r := KeyRange{rapid.StringMatching(`[ab]{0,3}`).Draw(t, "from"), rapid.StringMatching(`[ab]{0,3}`).Draw(t, "to")}
				var want []string
				for _, key := range slices.Sorted(maps.Keys(model)) {
					if model[key] && r.From <= key && (r.To == "" || key < r.To) {
						want = append(want, key)
					}
				}
				if got := ascended(s, r); !slices.Equal(got, want) {
					t.Fatalf("in %q: %q, want %q", r, got, want)
				}
			},
		})
	})
}

func BenchmarkAscendTen(b *testing.B) {
	for n := 1000; n <= 1_000_000; n *= 10 {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := New(Config{Actor: clock.Actor{Birth: 1, Rand: 1}})
			for i := range n {
				s.Apply(clock.Timestamp(i+1), 0, Op{Verb: Put, Key: fmt.Sprintf("tasks/%08d/state", i), Value: text(8)})
				s.Recycle(s.Changes())
			}
			ascended(s, KeyRange{})
			r := StartingWith("tasks/0000012")
			b.ReportAllocs()
			for b.Loop() {
				left := 10
				s.Ascend(r, func(string, Entry, bool) bool {
					left--
					return left > 0
				})
			}
		})
	}
}

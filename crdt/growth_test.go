package crdt

import (
	"fmt"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// big is a key with many elements or leaves: the set "set", or the object "object" with the
// fields f0, f1 and so on.
type big struct {
	*Store
	stamp clock.Timestamp
	next  int // number of the next new element or leaf
}

// newBig returns a store with a set of n elements and an object of n leaves.
func newBig(tb testing.TB, n int) *big {
	b := &big{Store: New(Config{Actor: here}), next: n}
	for from := 0; from < n; from += MaxLeaves {
		var values []Value
		leaves := make(map[string]any)
		for i := from; i < min(from+MaxLeaves, n); i++ {
			values = append(values, num(i))
			leaves[fmt.Sprintf("f%d", i)] = i
		}
		patch, err := ValueOf(leaves)
		if err != nil {
			tb.Fatal(err)
		}
		b.apply(tb, Op{Verb: Add, Key: "set", Values: values}, Op{Verb: Patch, Key: "object", Value: patch})
	}
	return b
}

func (b *big) apply(tb testing.TB, ops ...Op) []Delta {
	b.stamp++
	deltas, err := b.Apply(b.stamp, 0, ops...)
	if err != nil {
		tb.Fatal(err)
	}
	b.Recycle(b.Changes())
	return deltas
}

// bigSteps are what one operation on a big key may be. Each is given the number of the step.
var bigSteps = map[string]func(b *big, i int) Op{
	"add": func(b *big, i int) Op {
		b.next++
		return Op{Verb: Add, Key: "set", Values: []Value{num(b.next)}}
	},
	"remove": func(b *big, i int) Op {
		return Op{Verb: Remove, Key: "set", Values: []Value{num(i)}}
	},
	"leaf": func(b *big, i int) Op {
		return Op{Verb: Patch, Key: "object", Value: object("f3", i)}
	},
	"new leaf": func(b *big, i int) Op {
		b.next++
		return Op{Verb: Patch, Key: "object", Value: object(fmt.Sprintf("f%d", b.next), i)}
	},
	"remove leaf": func(b *big, i int) Op {
		return Op{Verb: Delete, Key: "object", Path: []string{fmt.Sprintf("f%d", i)}}
	},
}

// The number of allocations stands for the work of a step, because a loop over the whole key that
// collects or renders it allocates. The time is compared too, with a margin of 30, within one run.
func TestTheCostOfAStepDoesNotGrowWithTheKey(t *testing.T) {
	const small, large = 100, 40_000
	cost := func(s *big, f func(i int)) (allocs float64, best time.Duration) {
		i := 0
		step := func() {
			start := time.Now()
			f(i)
			i++
			if d := time.Since(start); best == 0 || d < best {
				best = d
			}
		}
		return testing.AllocsPerRun(50, step), best
	}
	few, many := newBig(t, small), newBig(t, large)
	compare := func(name string, f func(s *big, i int)) {
		t.Run(name, func(t *testing.T) {
			a, fast := cost(few, func(i int) { f(few, i) })
			b, slow := cost(many, func(i int) { f(many, i) })
			if b > 2*a+10 || slow > 30*fast+20*time.Microsecond {
				t.Errorf("with %d elements %.0f allocations and %v, with %d %.0f and %v", small, a, fast, large, b, slow)
			}
		})
	}
	for name, step := range bigSteps {
		compare(name, func(s *big, i int) { s.apply(t, step(s, i)) })
	}
	compare("has", func(s *big, i int) { s.Probe("set", 0).Has(num(i)) })
	compare("count", func(s *big, i int) { s.Probe("set", 0).Count() })
	compare("leaf", func(s *big, i int) { s.Probe("object", 0).Field([]string{"f77"}) })
	compare("version", func(s *big, i int) { s.Probe("set", 0).Version() })
}

// An element that has expired is not counted, before Expire has reported it and after it.
func TestAnExpiredElementIsNotCounted(t *testing.T) {
	s := New(Config{Actor: here})
	for i, expiry := range []uint64{10, 20, 0} {
		if _, err := s.Apply(clock.Timestamp(i+1), 0, Op{Verb: Add, Key: "set", Values: []Value{num(i)}, Expiry: expiry}); err != nil {
			t.Fatal(err)
		}
	}
	for _, expire := range []bool{false, true} {
		for _, step := range []struct {
			at   uint64
			want int
		}{{9, 3}, {10, 2}, {19, 2}, {20, 1}} {
			at, want := step.at, step.want
			if expire && at < 20 {
				continue // what Expire has reported stays expired
			}
			if expire {
				s.Expire(at)
			}
			p := s.Probe("set", at)
			e, _ := s.Render("set", at)
			if p.Count() != want || len(e.Value().Elements()) != want || p.Version() != e.Version() {
				t.Errorf("at %d, reported %v: %d elements and version %v; rendered %v and %v", at, expire, p.Count(), p.Version(), e.Value(), e.Version())
			}
			if has := p.Has(num(1)); has != (at < 20) {
				t.Errorf("at %d, reported %v: has 1: %v", at, expire, has)
			}
		}
	}
}

func BenchmarkGrowth(b *testing.B) {
	for _, n := range []int{10, 100, 1_000, 10_000, 100_000} {
		for name, step := range bigSteps {
			b.Run(fmt.Sprintf("local/%s/%d", name, n), func(b *testing.B) {
				s := newBig(b, n)
				i := 0
				for b.Loop() {
					s.apply(b, step(s, i))
					i++
				}
			})
		}
		for name, step := range bigSteps {
			b.Run(fmt.Sprintf("received/%s/%d", name, n), func(b *testing.B) {
				src, dst := newBig(b, n), newBig(b, n)
				src.SetActor(there)
				src.stamp++
				i := 0
				for b.Loop() {
					b.StopTimer()
					ds := src.apply(b, step(src, i))
					i++
					var table ActorTable
					var section []byte
					if len(ds) > 0 {
						section = src.AppendSection(nil, &table, there, ds[0].Seq(), ds[len(ds)-1].Seq(), ds)
					}
					b.StartTimer()
					if section != nil {
						r := wire.NewReader(section)
						if _, err := dst.JoinSection(&r, table.Actors(), 1<<62); err != nil {
							b.Fatal(err)
						}
						dst.Recycle(dst.Changes())
					}
				}
			})
		}
	}
}

func BenchmarkGrowthRead(b *testing.B) {
	for _, n := range []int{10, 100, 1_000, 10_000, 100_000} {
		for _, key := range []string{"set", "object"} {
			b.Run(fmt.Sprintf("%s/%d", key, n), func(b *testing.B) {
				s := newBig(b, n)
				c := s.cellOf(key)
				for b.Loop() {
					c.view.Store(c.many().staleView)
					s.Render(key, 0)
				}
			})
		}
	}
}

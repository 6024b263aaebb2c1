package clock

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
)

// lives is a pair of contexts that see the same dots of many actors. Only one of the two ever
// retires actors; the other one is the context same.
type lives struct {
	rng     *rand.Rand
	c, same *CausalContext
}

func (l *lives) see(a Actor, first, last uint64) {
	l.c.AddRange(a, first, last)
	l.same.AddRange(a, first, last)
}

func (l *lives) some(n int) {
	for range n {
		first := 1 + l.rng.Uint64N(4)
		l.see(Actor{1 + l.rng.Uint64N(5000), l.rng.Uint64N(2)}, first*l.rng.Uint64N(2), first+l.rng.Uint64N(5))
	}
	if l.rng.IntN(2) == 0 {
		l.retire(0.9)
	}
}

func (l *lives) retire(share float64) {
	l.c.Retire(func(Actor) bool { return l.rng.Float64() < share })
}

func newLives(seed uint64) *lives {
	return &lives{rand.New(rand.NewPCG(seed, 1)), NewContext(), NewContext()}
}

// A context that retires actors has the same dots as one that does not, however both are
// changed, copied and joined.
func TestRetiringChangesNothingOfWhatWasSeen(t *testing.T) {
	for seed := range uint64(40) {
		x, y := newLives(seed), newLives(seed+1000)
		for step := range 12 {
			x.some(1 + x.rng.IntN(600))
			y.some(1 + y.rng.IntN(600))
			switch x.rng.IntN(4) {
			case 0:
				before := x.same.Clone()
				copied := x.c.Clone()
				x.some(50)
				if !copied.Equal(before) {
					t.Fatalf("seed %d, step %d: a copy changed with its original", seed, step)
				}
			case 1:
				x.c.Join(y.c)
				x.same.Join(y.same)
			case 2:
				y.c, y.same = x.c.Clone(), x.same.Clone()
			}
			name := fmt.Sprintf("seed %d, step %d", seed, step)
			if got, want := x.c.Covers(y.c), x.same.Covers(y.same); got != want {
				t.Fatalf("%s: Covers = %t, want %t", name, got, want)
			}
			if got, want := x.c.Equal(y.c), x.same.Equal(y.same); got != want {
				t.Fatalf("%s: Equal = %t, want %t", name, got, want)
			}
			for _, l := range []*lives{x, y} {
				alike(t, name, l.c, l.same)
			}
		}
		if x.c.Retired() == 0 {
			t.Fatalf("seed %d: nothing is retired", seed)
		}
	}
}

func alike(t *testing.T, name string, c, plain *CausalContext) {
	t.Helper()
	switch {
	case !c.Equal(plain) || !plain.Equal(c):
		t.Fatalf("%s: what was seen is not what was seen", name)
	case c.Sum() != plain.Sum():
		t.Fatalf("%s: the sums differ", name)
	case c.Len() != plain.Len():
		t.Fatalf("%s: %d actors, want %d", name, c.Len(), plain.Len())
	case !bytes.Equal(c.AppendTo(nil), plain.AppendTo(nil)):
		t.Fatalf("%s: it is written in another way", name)
	case !maps.Equal(c.Vector(), plain.Vector()):
		t.Fatalf("%s: the vectors differ", name)
	}
	last := Actor{}
	for a, s := range c.All() {
		if a.Compare(last) <= 0 {
			t.Fatalf("%s: %v comes after %v", name, a, last)
		}
		if last = a; !s.Equal(plain.Span(a)) || !c.Span(a).Equal(s) {
			t.Fatalf("%s: of %v %+v, want %+v", name, a, s, plain.Span(a))
		}
	}
}

// understand exchanges summaries until the receiver knows the dots of c. It returns the number
// of summaries and the number of actors that they named.
func understand(t *testing.T, c, other *CausalContext) (rounds, named int) {
	t.Helper()
	var parts []Part
	for {
		s := c.Summary(parts)
		rounds, named = rounds+1, named+s.Listed.Len()+len(s.Parts)
		if got, ok := other.Resolve(s); ok {
			if !got.Equal(c) || !c.Equal(got) || got.Covers(other) != c.Covers(other) || other.Covers(got) != other.Covers(c) {
				t.Fatal("what was understood is not what was said")
			}
			return rounds, named
		}
		if rounds > 8 {
			t.Fatal("it is not understood")
		}
		theirs, most := other.Refine(s), 1024
		if len(theirs) <= max(len(parts), 1) {
			most = 1 << 16
		}
		parts, _, _ = c.Spell(parts, theirs, most)
	}
}

func TestASummaryIsUnderstood(t *testing.T) {
	for seed := range uint64(60) {
		x, y := newLives(seed), newLives(seed+1000)
		for range 1 + seed%6 {
			x.some(3000)
		}
		x.retire(1)
		y.c, y.same = x.c.Clone(), x.same.Clone()
		if rounds, named := understand(t, y.c, x.c); rounds != 1 || named != 1 {
			t.Fatalf("equals take %d rounds and %d names", rounds, named)
		}
		for range seed % 4 {
			x.some(int(seed))
			y.some(1000)
		}
		understand(t, x.c, y.c)
		understand(t, y.c, x.c)
		understand(t, NewContext(), y.c)
		understand(t, y.c, NewContext())
	}
}

// Summaries of two contexts with a hundred thousand actors that differ in one name few actors.
func TestFewAreNamedWhereFewDiffer(t *testing.T) {
	x := newLives(1)
	for i := range uint64(100_000) {
		x.c.AddRange(Actor{i + 1, 1}, 1, 3)
	}
	x.c.Retire(func(Actor) bool { return true })
	y := x.c.Clone()
	y.Add(Dot{Actor{500, 1}, 4})
	y.Retire(func(Actor) bool { return true })
	rounds, named := understand(t, x.c, y)
	if rounds != 2 || named > 1000 {
		t.Errorf("%d rounds, %d names", rounds, named)
	}
	if same, _ := unshared(x.c.blocks, y.blocks); len(same) != 1 {
		t.Errorf("%d of %d blocks were made anew", len(same), len(x.c.blocks))
	}
}

func TestHostilePartsAreRefusedOrUnderstoodAsAbsence(t *testing.T) {
	c := NewContext()
	c.AddRange(Actor{5, 1}, 1, 3)
	c.Retire(func(Actor) bool { return true })
	got, ok := c.Resolve(Summary{NewContext(), []Part{{lastActor, 0}}})
	if !ok || got.Covers(c) || !c.Covers(got) {
		t.Errorf("nothing is listed, and understood is %v", got)
	}
	if _, ok := c.Resolve(Summary{NewContext(), []Part{{lastActor, 1}}}); ok {
		t.Error("a sum that nobody has is understood")
	}
}

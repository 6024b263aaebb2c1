package clock

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

func actors(n int) *rapid.Generator[Actor] {
	return rapid.Custom(func(t *rapid.T) Actor {
		return Actor{Birth: uint64(rapid.IntRange(1, 2).Draw(t, "birth")), Rand: uint64(rapid.IntRange(1, n).Draw(t, "rand"))}
	})
}

var vectors = rapid.Custom(func(t *rapid.T) Vector {
	return Vector(rapid.MapOfN(actors(3), rapid.Uint64Range(1, 4), 0, 4).Draw(t, "vector"))
})

var contexts = rapid.Custom(func(t *rapid.T) *CausalContext {
	c := NewContext()
	for range rapid.IntRange(0, 8).Draw(t, "ranges") {
		first := rapid.Uint64Range(1, 30).Draw(t, "first")
		c.AddRange(actors(2).Draw(t, "actor"), first, first+rapid.Uint64Range(0, 5).Draw(t, "length"))
		if rapid.IntRange(0, 3).Draw(t, "retire") == 0 {
			rest := actors(2).Draw(t, "rests")
			c.Retire(func(a Actor) bool { return a.Compare(rest) <= 0 })
		}
	}
	return c
})

// A span behaves as a set of numbers, and equal sets have spans with equal fields (I2).
func TestASpanIsASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s Span
		model := map[uint64]bool{}
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			first := rapid.Uint64Range(0, 40).Draw(t, "first")
			if rapid.Bool().Draw(t, "one") {
				if got, want := s.Add(first), first > 0 && !model[first]; got != want {
					t.Fatalf("Add(%d) = %t, want %t", first, got, want)
				}
				model[first] = first > 0
				continue
			}
			last := first + rapid.Uint64Range(0, 6).Draw(t, "length")
			s.AddRange(first, last)
			for n := first; n <= last; n++ {
				model[n] = n > 0
			}
		}
		var again Span
		count, head := uint64(0), uint64(0)
		missing := map[uint64]bool{}
		s.Missing(50, func(r Range) bool {
			for n := r.First; n <= r.Last; n++ {
				missing[n] = true
			}
			return true
		})
		for n := uint64(0); n <= 50; n++ {
			if s.Contains(n) != model[n] {
				t.Fatalf("Contains(%d) = %t in %+v", n, s.Contains(n), s)
			}
			if n > 0 && missing[n] == model[n] {
				t.Fatalf("Missing and Contains disagree on %d in %+v", n, s)
			}
			if model[n] {
				again.Add(n)
				count, head = count+1, n
			}
		}
		if !s.Equal(&again) {
			t.Fatalf("not canonical: %+v, want %+v", s, again)
		}
		if s.Count() != count || s.Head() != head {
			t.Fatalf("Count %d, Head %d of %+v", s.Count(), s.Head(), s)
		}
	})
}

func TestAContextJoinsAsASemilattice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := contexts.Draw(t, "a"), contexts.Draw(t, "b"), contexts.Draw(t, "c")
		join := func(x, y *CausalContext) *CausalContext {
			z := x.Clone()
			z.Join(y)
			return z
		}
		if !join(a, b).Equal(join(b, a)) {
			t.Fatal("not commutative")
		}
		if !join(join(a, b), c).Equal(join(a, join(b, c))) {
			t.Fatal("not associative")
		}
		if !join(a, a).Equal(a) {
			t.Fatal("not idempotent")
		}
		if !join(a, b).Covers(a) || !join(a, b).Covers(b) {
			t.Fatal("a join does not cover its parts")
		}
		if a.Covers(b) != join(a, b).Equal(a) {
			t.Fatal("Covers and Join disagree")
		}
	})
}

func TestAVectorObeysTheLawsOfVectorClocks(t *testing.T) {
	mirror := map[Order]Order{Before: After, After: Before, Equal: Equal, Concurrent: Concurrent}
	rapid.Check(t, func(t *rapid.T) {
		a, b := vectors.Draw(t, "a"), vectors.Draw(t, "b")
		if b.Compare(a) != mirror[a.Compare(b)] {
			t.Fatalf("%v and %v: %v one way, %v the other", a, b, a.Compare(b), b.Compare(a))
		}
		up := a.Clone()
		up.Update(b)
		if !up.Descends(a) || !up.Descends(b) {
			t.Fatal("an update does not descend from both")
		}
		next := up.Clone()
		if next.Increment(actors(3).Draw(t, "actor")); up.Compare(next) != Before || next.Compare(up) != After {
			t.Fatal("an event did not happen after what it knew")
		}
	})
}

// Events of two actors are concurrent until one actor has seen an event of the other.
func TestConcurrencyEndsWithAMessage(t *testing.T) {
	x, y := Actor{1, 1}, Actor{1, 2}
	a, b := Vector{}, Vector{}
	a.Increment(x)
	b.Increment(y)
	if a.Compare(b) != Concurrent {
		t.Fatalf("got %v", a.Compare(b))
	}
	b.Update(a)
	b.Increment(y)
	if a.Compare(b) != Before || b.Compare(a) != After {
		t.Fatalf("got %v", a.Compare(b))
	}
}

func TestAnHLCRisesAndStaysNearTheWall(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h HLC
		wall := time.UnixMilli(1_000_000)
		greatest := TimestampAt(wall)
		last := Timestamp(0)
		for range rapid.IntRange(1, 50).Draw(t, "steps") {
			wall = wall.Add(time.Duration(rapid.IntRange(-5, 5).Draw(t, "ms")) * time.Millisecond)
			greatest = max(greatest, TimestampAt(wall))
			if rapid.Bool().Draw(t, "receive") {
				remote := TimestampAt(wall.Add(time.Duration(rapid.IntRange(-9, 9).Draw(t, "skew")) * time.Millisecond))
				greatest = max(greatest, remote)
				h.Observe(remote)
				last = max(last, remote)
				continue
			}
			if peek := h.Next(wall); peek <= last {
				t.Fatalf("Next %v is not after %v", peek, last)
			}
			now := h.Now(wall)
			if now <= last {
				t.Fatalf("%v is not after %v", now, last)
			}
			if now > greatest+100 {
				t.Fatalf("%v runs away from %v", now, greatest)
			}
			last = now
		}
	})
}

func TestATimestampCarriesItsCounterIntoTheMilliseconds(t *testing.T) {
	var h HLC
	wall := time.UnixMilli(5)
	h.Observe(TimestampAt(wall) + math.MaxUint16)
	if got := h.Now(wall); got.Millis() != 6 || got.Counter() != 0 {
		t.Fatalf("got %v", got)
	}
}

func TestTheEndsOfTheNumbersDoNotWrapAround(t *testing.T) {
	h := HLC{math.MaxUint64}
	if got := h.Now(time.UnixMilli(5)); got != math.MaxUint64 {
		t.Errorf("the clock fell back to %v", got)
	}
	var s Span
	s.AddRange(5, math.MaxUint64)
	s.AddRange(1, 2)
	if s.Add(0) || !s.Contains(math.MaxUint64) || s.Contains(3) || len(s.Ranges) != 1 {
		t.Errorf("%+v", s)
	}
	s.AddRange(3, 4)
	if s.Base != math.MaxUint64 || s.Add(0) || s.Contains(0) {
		t.Errorf("%+v", s)
	}
	s.Missing(math.MaxUint64, func(r Range) bool { t.Errorf("missing %v", r); return true })
}

func TestEncodingsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := contexts.Draw(t, "context")
		r := wire.NewReader(c.AppendTo(nil))
		got, err := ReadContext(&r)
		if err != nil || !got.Equal(c) || r.Len() != 0 {
			t.Fatalf("context: %v, %d bytes left", err, r.Len())
		}
		a := Actor{rapid.Uint64Range(0, maxMillis).Draw(t, "birth"), rapid.Uint64Min(1).Draw(t, "rand")}
		if p, err := ParseActor(a.String()); err != nil || p != a {
			t.Fatalf("%v: %v, %v", a, p, err)
		}
		var byActor map[Actor]int
		j, err := json.Marshal(map[Actor]int{a: 1})
		if err == nil {
			err = json.Unmarshal(j, &byActor)
		}
		if err != nil || byActor[a] != 1 {
			t.Fatalf("%v as a key of JSON: %s, %v", a, j, err)
		}
		r = wire.NewReader(AppendActor(nil, a))
		if p := ReadActor(&r); p != a {
			t.Fatalf("%v became %v", a, p)
		}
	})
}

func TestAHostileContextIsRefused(t *testing.T) {
	f := func(name string, b []byte) {
		t.Helper()
		r := wire.NewReader(b)
		if _, err := ReadContext(&r); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	a := AppendActor(nil, Actor{1, 1})
	one := func(base uint64, ranges ...uint64) []byte {
		b := append(wire.AppendArray(nil, 3), a...)
		b = wire.AppendArray(wire.AppendUint(b, base), len(ranges))
		for _, n := range ranges {
			b = wire.AppendUint(b, n)
		}
		return b
	}
	f("a range next to the base", one(3, 1, 0))
	f("a range that wraps around", one(3, 2, math.MaxUint64))
	f("a base that no section reaches", one(MaxSeq+1))
	f("a range that no section reaches", one(3, 2, MaxSeq-4))
	f("half a range", one(3, 2))
	f("a count that is no triple", wire.AppendArray(nil, 2))
	f("a huge count", []byte{0xdd, 0xff, 0xff, 0xff, 0xff})
	f("an actor twice", append(append(wire.AppendArray(nil, 6), one(1)[1:]...), one(2)[1:]...))
	f("too many ranges", one(1, make([]uint64, 2*wire.MaxGapRanges+2)...))
	for _, b := range [][]byte{one(MaxSeq), one(3, 2, MaxSeq-5)} {
		r := wire.NewReader(b)
		if c, err := ReadContext(&r); err != nil || c.Span(Actor{1, 1}).Head() != MaxSeq {
			t.Errorf("up to MaxSeq: %v", err)
		}
	}
}

func FuzzReadContext(f *testing.F) {
	f.Add(NewContext().AppendTo(nil))
	c := NewContext()
	c.AddRange(Actor{1, 1}, 3, 9)
	f.Add(c.AppendTo(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := wire.NewReader(b)
		got, err := ReadContext(&r)
		if err != nil {
			return
		}
		again := wire.NewReader(got.AppendTo(nil))
		if same, err := ReadContext(&again); err != nil || !same.Equal(got) {
			t.Fatalf("does not round trip: %v", err)
		}
	})
}

package crdt

import (
	"slices"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// tells has one store make a write and another merge it.
func tells(t *testing.T, from, to *Store, stamp clock.Timestamp, ops ...Op) {
	t.Helper()
	ds, err := from.Apply(stamp, 0, ops...)
	if err != nil {
		t.Fatal(err)
	}
	var table ActorTable
	b := from.AppendSection(nil, &table, ds[0].Actor(), ds[0].Seq(), ds[len(ds)-1].Seq(), ds)
	r := wire.NewReader(b)
	if _, err := to.JoinSection(&r, table.Actors(), 1<<62); err != nil {
		t.Fatal(err)
	}
}

func all(clock.Actor) bool { return true }

// The tables keep whose records live or wait, and whom those name; the rest goes, and comes
// back as it was.
func TestWhomARecordNamesStaysKnown(t *testing.T) {
	first, second := New(Config{Actor: clock.Actor{Birth: 1, Rand: 1}}), New(Config{Actor: clock.Actor{Birth: 2, Rand: 1}})
	s := New(Config{Actor: clock.Actor{Birth: 3, Rand: 1}})
	one, err := ValueOf(1)
	if err != nil {
		t.Fatal(err)
	}
	tells(t, first, second, 1, Op{Verb: Put, Key: "a/x", Kind: Object, Value: Value{emptyMap}})
	tells(t, second, s, 2, Op{Verb: Delete, Key: "a/x"}) // names the first, of whom s has seen nothing
	active := func() int { return len(s.active) }
	if s.Retire(all); active() != 3 {
		t.Fatalf("%d are known, want the three that a record is of, or names", active())
	}
	tells(t, second, s, 3, Op{Verb: Put, Key: "b", Value: one})
	if s.Retire(all); active() != 3 {
		t.Fatalf("%d are known", active())
	}
	if n := s.Context().Retired(); n != 1 {
		t.Fatalf("%d are retired, want the second", n)
	}
	s.Collect(clock.Vector{second.self.actor: 1, first.self.actor: 1}, 0) // the removal goes
	if s.Retire(all); active() != 2 {
		t.Fatalf("%d are known, want this one and the second, whose record lives", active())
	}
	s.Drop(clock.Dot{Actor: second.self.actor, Seq: 2}, second.self.actor, 0)
	if s.Retire(all); active() != 1 {
		t.Fatalf("%d are known, want this one alone", active())
	}
	before, merged := s.Context().Sum(), s.Stats().Merged
	again := New(Config{Actor: second.self.actor})
	tells(t, again, s, 2, Op{Verb: Put, Key: "b", Value: one}, Op{Verb: Put, Key: "c", Value: one})
	if s.Stats().Merged != merged || s.Context().Sum() != before || s.Len() != 0 {
		t.Error("what comes late of a retired actor was taken for new")
	}
	tells(t, again, s, 4, Op{Verb: Put, Key: "d", Value: one})
	if s.Stats().Returned != 2 || s.Len() != 1 || s.Context().Span(again.self.actor).Base != 3 {
		t.Errorf("a retired actor that writes again is not back: %+v", s.Context().Span(again.self.actor))
	}
}

// What fills a hole after all that is above it was collected waits for its own turn.
func TestWhatFillsAHoleIsCollectedInItsTurn(t *testing.T) {
	life, s := New(Config{Actor: clock.Actor{Birth: 1, Rand: 1}}), New(Config{Actor: clock.Actor{Birth: 2, Rand: 1}})
	lost := New(Config{Actor: s.self.actor}) // takes what s is not told yet
	one, err := ValueOf(1)
	if err != nil {
		t.Fatal(err)
	}
	tells(t, life, s, 1, Op{Verb: Put, Key: "a", Value: one}, Op{Verb: Put, Key: "b", Value: one}, Op{Verb: Put, Key: "c", Value: one})
	for i, key := range []string{"a", "b", "c"} {
		to := s
		if key == "b" {
			to = lost
		}
		tells(t, life, to, clock.Timestamp(i+2), Op{Verb: Delete, Key: key})
	}
	s.Collect(clock.Vector{life.self.actor: 6}, 0)
	if n := s.Stats().Removals; n != 0 {
		t.Fatalf("%d removals are left where all is stable", n)
	}
	late := lost.AppendSection(nil, &ActorTable{}, life.self.actor, 5, 5, deltasOf(lost, life.self.actor, 5, 5))
	r := wire.NewReader(late)
	if _, err := s.JoinSection(&r, []clock.Actor{life.self.actor}, 1<<62); err != nil {
		t.Fatal(err)
	}
	s.Collect(clock.Vector{life.self.actor: 4}, 0)
	if n := s.Stats().Removals; n != 1 {
		t.Fatalf("%d removals, want the one that came late", n)
	}
	s.Collect(clock.Vector{life.self.actor: 6}, 0)
	if n := s.Stats().Removals; n != 0 {
		t.Errorf("%d removals are left where all is stable", n)
	}
}

func deltasOf(s *Store, a clock.Actor, first, last uint64) (list []Delta) {
	s.Live(a, first, last, func(d Delta) bool {
		list = append(list, d)
		return true
	})
	return list
}

// A removal that took the place of another covers what that one's writer had written, which
// may be on its way: it stays until that is here, or nobody has it.
func TestARemovalStaysWhileWhatItCoversMayCome(t *testing.T) {
	for _, comes := range []bool{true, false} {
		life, s := New(Config{Actor: clock.Actor{Birth: 1, Rand: 1}}), New(Config{Actor: clock.Actor{Birth: 2, Rand: 1}})
		late := New(Config{Actor: s.self.actor}) // takes what s is not told yet
		tells(t, life, late, 1, Op{Verb: Increment, Key: "n", Delta: 5})
		tells(t, life, s, 2, Op{Verb: Delete, Key: "n"})
		for _, op := range []Op{{Verb: Increment, Key: "n", Delta: 1}, {Verb: Delete, Key: "n"}} {
			if _, err := s.Apply(3, 0, op); err != nil {
				t.Fatal(err)
			}
		}
		s.Collect(clock.Vector{s.self.actor: 2}, 0)
		if n := s.Stats().Removals; n != 1 {
			t.Fatalf("%d removals, want the one that covers what is on its way", n)
		}
		if list := s.Awaited(); !slices.Contains(list, life.self.actor) {
			t.Errorf("the one whose write is on its way is not awaited: %v", list)
		}
		stable := clock.Vector{s.self.actor: 2}
		if comes {
			r := wire.NewReader(late.AppendSection(nil, &ActorTable{}, life.self.actor, 1, 1, deltasOf(late, life.self.actor, 1, 1)))
			if _, err := s.JoinSection(&r, []clock.Actor{life.self.actor}, 1<<62); err != nil {
				t.Fatal(err)
			}
			if e, ok := s.Render("n", 0); ok {
				t.Fatalf("what was removed is back: %v", e.Value())
			}
		} else {
			stable[life.self.actor] = 2
		}
		s.Collect(stable, 0)
		if n := s.Stats().Removals; n != 0 {
			t.Errorf("%d removals are left", n)
		}
	}
}

// Of two lives at once nobody may have what a removal covers: both are awaited until it goes.
func TestAllWhoAreMissingAreAwaited(t *testing.T) {
	s := New(Config{Actor: clock.Actor{Birth: 3, Rand: 1}})
	var lives []clock.Actor
	for i := range 2 {
		life, late := New(Config{Actor: clock.Actor{Birth: uint64(i + 1), Rand: 1}}), New(Config{Actor: s.self.actor})
		tells(t, life, late, 1, Op{Verb: Increment, Key: "n", Delta: 5})
		tells(t, life, s, 2, Op{Verb: Delete, Key: "n"})
		lives = append(lives, life.self.actor)
	}
	for _, op := range []Op{{Verb: Increment, Key: "n", Delta: 1}, {Verb: Delete, Key: "n"}} {
		if _, err := s.Apply(3, 0, op); err != nil {
			t.Fatal(err)
		}
	}
	for _, gone := range lives {
		s.Collect(clock.Vector{s.self.actor: 2, gone: clock.MaxSeq}, 0)
		for _, a := range lives {
			if !slices.Contains(s.Awaited(), a) {
				t.Errorf("%v is not awaited while nobody has anything of %v", a, gone)
			}
		}
	}
	s.Collect(clock.Vector{s.self.actor: 2, lives[0]: clock.MaxSeq, lives[1]: clock.MaxSeq}, 0)
	if n := s.Stats().Removals; n != 0 {
		t.Errorf("%d removals are left", n)
	}
}

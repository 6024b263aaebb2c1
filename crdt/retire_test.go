package crdt

import (
	"slices"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// writeAndMerge makes a batch of writes at from and merges it into to.
func writeAndMerge(t *testing.T, from, to *Store, stamp clock.Timestamp, ops ...Op) {
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

// Retire keeps in the tables the actors with live or pending records, and the actors that
// the pasts of these name. It removes the others, and a removed actor can write again.
func TestWhomARecordNamesStaysKnown(t *testing.T) {
	first, second := New(Config{Actor: clock.Actor{Birth: 1, Rand: 1}}), New(Config{Actor: clock.Actor{Birth: 2, Rand: 1}})
	s := New(Config{Actor: clock.Actor{Birth: 3, Rand: 1}})
	one, err := ValueOf(1)
	if err != nil {
		t.Fatal(err)
	}
	writeAndMerge(t, first, second, 1, Op{Verb: Put, Key: "a/x", Kind: Object, Value: Value{emptyMap}})
	writeAndMerge(t, second, s, 2, Op{Verb: Delete, Key: "a/x"}) // its past names first, of which s has seen no dot
	active := func() int { return len(s.active) }
	if s.Retire(all); active() != 3 {
		t.Fatalf("%d are known, want the three that a record is of, or names", active())
	}
	writeAndMerge(t, second, s, 3, Op{Verb: Put, Key: "b", Value: one})
	if s.Retire(all); active() != 3 {
		t.Fatalf("%d are known", active())
	}
	if n := s.Context().Retired(); n != 1 {
		t.Fatalf("%d are retired, want the second", n)
	}
	s.Collect(clock.Vector{second.self.actor: 1, first.self.actor: 1}, 0, 0) // forgets the removal
	if s.Retire(all); active() != 2 {
		t.Fatalf("%d are known, want this one and the second, whose record lives", active())
	}
	s.Drop(clock.Dot{Actor: second.self.actor, Seq: 2}, second.self.actor, 0)
	if s.Retire(all); active() != 1 {
		t.Fatalf("%d are known, want this one alone", active())
	}
	before, merged := s.Context().Sum(), s.Stats().Merged
	again := New(Config{Actor: second.self.actor})
	writeAndMerge(t, again, s, 2, Op{Verb: Put, Key: "b", Value: one}, Op{Verb: Put, Key: "c", Value: one})
	if s.Stats().Merged != merged || s.Context().Sum() != before || s.Len() != 0 {
		t.Error("what comes late of a retired actor was taken for new")
	}
	writeAndMerge(t, again, s, 4, Op{Verb: Put, Key: "d", Value: one})
	if s.Stats().Returned != 2 || s.Len() != 1 || s.Context().Span(again.self.actor).Base != 3 {
		t.Errorf("a retired actor that writes again is not back: %+v", s.Context().Span(again.self.actor))
	}
}

// A record that fills a gap, after the records above it were collected, is collected only
// when its own dot is stable.
func TestWhatFillsAHoleIsCollectedInItsTurn(t *testing.T) {
	life, s := New(Config{Actor: clock.Actor{Birth: 1, Rand: 1}}), New(Config{Actor: clock.Actor{Birth: 2, Rand: 1}})
	lost := New(Config{Actor: s.self.actor}) // takes what s is not told yet
	one, err := ValueOf(1)
	if err != nil {
		t.Fatal(err)
	}
	writeAndMerge(t, life, s, 1, Op{Verb: Put, Key: "a", Value: one}, Op{Verb: Put, Key: "b", Value: one}, Op{Verb: Put, Key: "c", Value: one})
	for i, key := range []string{"a", "b", "c"} {
		to := s
		if key == "b" {
			to = lost
		}
		writeAndMerge(t, life, to, clock.Timestamp(i+2), Op{Verb: Delete, Key: key})
	}
	s.Collect(clock.Vector{life.self.actor: 6}, 0, 0)
	if n := s.Stats().Removals; n != 0 {
		t.Fatalf("%d removals are left where all is stable", n)
	}
	late := lost.AppendSection(nil, &ActorTable{}, life.self.actor, 5, 5, deltasOf(lost, life.self.actor, 5, 5))
	r := wire.NewReader(late)
	if _, err := s.JoinSection(&r, []clock.Actor{life.self.actor}, 1<<62); err != nil {
		t.Fatal(err)
	}
	s.Collect(clock.Vector{life.self.actor: 4}, 0, 0)
	if n := s.Stats().Removals; n != 1 {
		t.Fatalf("%d removals, want the one that came late", n)
	}
	s.Collect(clock.Vector{life.self.actor: 6}, 0, 0)
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

// A removal that overwrote another one covers the record that the other one removed, and
// that record may be on its way. The removal stays until this replica has seen that record,
// or no peer has it.
func TestARemovalStaysWhileWhatItCoversMayCome(t *testing.T) {
	for _, comes := range []bool{true, false} {
		life, s := New(Config{Actor: clock.Actor{Birth: 1, Rand: 1}}), New(Config{Actor: clock.Actor{Birth: 2, Rand: 1}})
		late := New(Config{Actor: s.self.actor}) // takes what s is not told yet
		writeAndMerge(t, life, late, 1, Op{Verb: Increment, Key: "n", Delta: 5})
		writeAndMerge(t, life, s, 2, Op{Verb: Delete, Key: "n"})
		for _, op := range []Op{{Verb: Increment, Key: "n", Delta: 1}, {Verb: Delete, Key: "n"}} {
			if _, err := s.Apply(3, 0, op); err != nil {
				t.Fatal(err)
			}
		}
		s.Collect(clock.Vector{s.self.actor: 2}, 0, 0)
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
		s.Collect(stable, 0, 0)
		if n := s.Stats().Removals; n != 0 {
			t.Errorf("%d removals are left", n)
		}
	}
}

// A removal may cover missing dots of two actors. Awaited returns both until the removal is
// forgotten.
func TestAllWhoAreMissingAreAwaited(t *testing.T) {
	s := New(Config{Actor: clock.Actor{Birth: 3, Rand: 1}})
	var lives []clock.Actor
	for i := range 2 {
		life, late := New(Config{Actor: clock.Actor{Birth: uint64(i + 1), Rand: 1}}), New(Config{Actor: s.self.actor})
		writeAndMerge(t, life, late, 1, Op{Verb: Increment, Key: "n", Delta: 5})
		writeAndMerge(t, life, s, 2, Op{Verb: Delete, Key: "n"})
		lives = append(lives, life.self.actor)
	}
	for _, op := range []Op{{Verb: Increment, Key: "n", Delta: 1}, {Verb: Delete, Key: "n"}} {
		if _, err := s.Apply(3, 0, op); err != nil {
			t.Fatal(err)
		}
	}
	for _, gone := range lives {
		s.Collect(clock.Vector{s.self.actor: 2, gone: clock.MaxSeq}, 0, 0)
		for _, a := range lives {
			if !slices.Contains(s.Awaited(), a) {
				t.Errorf("%v is not awaited while nobody has anything of %v", a, gone)
			}
		}
	}
	s.Collect(clock.Vector{s.self.actor: 2, lives[0]: clock.MaxSeq, lives[1]: clock.MaxSeq}, 0, 0)
	if n := s.Stats().Removals; n != 0 {
		t.Errorf("%d removals are left", n)
	}
}

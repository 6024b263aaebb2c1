package crdt

import (
	"bytes"
	"fmt"
	"iter"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// logged returns the entries, of which those that are nil are missing.
func logged(entries ...[]byte) iter.Seq2[[]byte, bool] {
	return func(yield func([]byte, bool) bool) {
		missing := false
		for _, e := range entries {
			if missing = missing || e == nil; e != nil && !yield(e, missing) {
				return
			}
		}
	}
}

func restored(t failer, entries ...[]byte) *Store {
	t.Helper()
	s := New(Config{Actor: clock.Actor{Birth: 9, Rand: 9}, Journal: true})
	if err := s.Restore(logged(entries...)); err != nil {
		t.Fatalf("restore: %v", err)
	}
	if more := s.AppendJournal(nil); more != nil {
		t.Fatalf("what was restored is journalled again: %x", more)
	}
	if changes := s.Changes(); len(changes) > 0 {
		t.Fatalf("what was restored are changes: %v", changes)
	}
	return s
}

// step makes n write, merge, collect or adopt something.
func (c *model) step(t *rapid.T, n *naive) {
	switch rapid.IntRange(0, 5).Draw(t, "step") {
	case 0, 1:
		c.write(t, n, modelOp(t), time.UnixMilli(0))
	case 2:
		c.write(t, c.replicas[1], modelOp(t), time.UnixMilli(0))
	case 3:
		c.collect(t, n)
	case 4:
		if len(c.log) > 0 {
			c.deliver(t, n, c.log[rapid.IntRange(0, len(c.log)-1).Draw(t, "which")])
		}
	default:
		seen := clock.NewContext()
		seen.AddRange(c.replicas[2].store.self.actor, 5, 7)
		n.store.Adopt(seen)
	}
}

// After each step of a random history, a store that is restored from its journal has the same
// records and the same context; so has one that is restored from an image, which was read while
// the history went on, and the entries since.
func TestTheJournalIsTheStore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newModel()
		n := c.replicas[0]
		n.store.journals = true
		var log, parts, imaged [][]byte
		var image *Image
		since := 0
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			c.step(t, n)
			if rapid.Bool().Draw(t, "write") {
				continue
			}
			if e := n.store.AppendJournal(nil); e != nil {
				log = append(log, e)
			}
			switch {
			case image == nil && rapid.Bool().Draw(t, "begin"):
				image, parts = NewImage(n.store), nil
				since = len(log)
			case image != nil:
				part, more := image.Next(nil, rapid.IntRange(1, 3).Draw(t, "records"))
				if parts = append(parts, part); !more {
					imaged, image = append(parts[:len(parts)-1], log[since:]...), nil
				}
			}
			ways := [][][]byte{log}
			if imaged != nil {
				ways = append(ways, imaged)
				imaged = nil
			}
			for _, entries := range ways {
				back := restored(t, entries...)
				if !back.Context().Equal(n.store.Context()) {
					t.Fatal("another context")
				}
				if !bytes.Equal(back.AppendState(nil), n.store.AppendState(nil)) || back.Sum() != n.store.Sum() {
					t.Fatal("another state")
				}
				if got, want := back.Stats().Removals, n.store.Stats().Removals; got != want {
					t.Fatalf("%d removals, want %d", got, want)
				}
			}
		}
	})
}

// A store has not seen what it cannot read, whatever entry is missing: it has seen what the
// entries before that one say, and the records of those after it.
func TestWhatCannotBeReadWasNotSeen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newModel()
		n := c.replicas[0]
		n.store.journals = true
		var log [][]byte
		var dots [][]clock.Dot // of the records of each entry
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			c.step(t, n)
			var list []clock.Dot
			for _, e := range n.store.journal {
				if !e.gone {
					list = append(list, n.store.delta(e.record).Dot())
				}
			}
			if e := n.store.AppendJournal(nil); e != nil {
				log, dots = append(log, e), append(dots, list)
			}
		}
		if len(log) == 0 {
			return
		}
		lost := rapid.IntRange(0, len(log)-1).Draw(t, "lost")
		want := restored(t, log[:lost]...).Context().Clone()
		for _, list := range dots[lost+1:] {
			for _, d := range list {
				want.Add(d)
			}
		}
		log[lost] = nil
		if got := restored(t, log...).Context(); !got.Equal(want) {
			t.Fatal("another context than that of what can be read")
		}
	})
}

// The journal has the records that were overwritten, or lost to another one, before their entry
// was made.
func TestTheJournalHasWhatWasOverwritten(t *testing.T) {
	var stores [2]*Store
	for i := range stores {
		stores[i] = New(Config{Actor: clock.Actor{Birth: 1, Rand: uint64(i)}, Journal: true})
	}
	text := func(s string) Value { v, _ := ValueOf(s); return v }
	var table ActorTable
	loser, err := stores[1].Apply(1<<19, 0, Op{Verb: Put, Key: "k", Value: text("lost")})
	if err != nil {
		t.Fatal(err)
	}
	section := stores[1].AppendSection(nil, &table, stores[1].self.actor, 1, 1, loser)
	for _, v := range []string{"first", "second"} {
		if _, err := stores[0].Apply(1<<20, 0, Op{Verb: Put, Key: "k", Value: text(v)}); err != nil {
			t.Fatal(err)
		}
	}
	r := wire.NewReader(section)
	if _, err := stores[0].JoinSection(&r, table.Actors(), math.MaxUint64); err != nil {
		t.Fatal(err)
	}
	entry := stores[0].AppendJournal(nil)
	for _, v := range []string{"first", "second", "lost"} {
		if !bytes.Contains(entry, []byte(v)) {
			t.Errorf("the entry has no %q", v)
		}
	}
}

// A record that the store forgot on the word of others, or to bound its removals, does not come
// back from the journal.
func TestWhatWasForgottenDoesNotComeBack(t *testing.T) {
	s := New(Config{Actor: clock.Actor{Birth: 1, Rand: 1}, Journal: true, MaxRemovals: 8})
	for i := range 12 {
		key := fmt.Sprint("k", i)
		for _, op := range []Op{{Verb: Put, Key: key, Value: num(i)}, {Verb: Delete, Key: key}} {
			if _, err := s.Apply(clock.Timestamp(1<<20+i), 0, op); err != nil {
				t.Fatal(err)
			}
		}
	}
	deltas, err := s.Apply(1<<21, 0, Op{Verb: Put, Key: "dropped", Value: num(1)})
	if err != nil {
		t.Fatal(err)
	}
	first, dot := s.AppendJournal(nil), deltas[0].Dot()
	s.Drop(dot, clock.Actor{Birth: 2, Rand: 2}, 1)
	s.truncate()
	back := restored(t, first, s.AppendJournal(nil))
	if back.Len() != 0 || back.Stats().Removals != s.Stats().Removals || !back.Context().Contains(dot) {
		t.Errorf("%d keys and %d removals, want none and %d", back.Len(), back.Stats().Removals, s.Stats().Removals)
	}
}

// An image may be newer than the entries that come after it. It has no record then that those
// would need to be merged as they once were.
func TestAnImageMayBeNewerThanTheEntriesAfterIt(t *testing.T) {
	one := num(1)
	f := func(name, key string, before, after func(s, other *Store)) {
		t.Run(name, func(t *testing.T) {
			s := New(Config{Actor: clock.Actor{Birth: 1, Rand: 1}, Journal: true})
			other := New(Config{Actor: clock.Actor{Birth: 1, Rand: 2}})
			before(s, other)
			s.AppendJournal(nil)
			image := NewImage(s)
			after(s, other)
			entry := s.AppendJournal(nil)
			var parts [][]byte
			for part, more := image.Next(nil, 9); more; part, more = image.Next(nil, 9) {
				parts = append(parts, part)
			}
			back := restored(t, append(parts, entry)...)
			if !bytes.Equal(back.AppendState(nil), s.AppendState(nil)) {
				got, there := back.Render(key, 0)
				t.Errorf("restored: %v, %v", got.Value(), there)
			}
		})
	}
	collect := func(s, other *Store) {
		s.Collect(clock.Vector{s.self.actor: s.Last(), other.self.actor: other.Last()}, 0, 0)
	}
	nothing := func(s, other *Store) {}
	remove := func(s, other *Store) {
		mustApply(t, s, 9, Op{Verb: Put, Key: "k", Value: one})
		mustApply(t, s, 10, Op{Verb: Delete, Key: "k"})
	}
	late := func(s, other *Store) { writeAndMerge(t, other, s, 1, Op{Verb: Put, Key: "k", Value: one}) }
	f("a past that covered a record is forgotten", "set", nothing, func(s, other *Store) {
		writeAndMerge(t, other, s, 1, Op{Verb: Add, Key: "set", Values: []Value{one}})
		mustApply(t, s, 2, Op{Verb: Add, Key: "set", Values: []Value{one}})
		collect(s, other)
	})
	f("a record lost to a removal that is forgotten", "k", remove, func(s, other *Store) {
		late(s, other)
		collect(s, other)
	})
	f("a record came when a removal was forgotten", "k", nothing, func(s, other *Store) {
		remove(s, other)
		collect(s, other)
		late(s, other)
	})
}

func mustApply(t *testing.T, s *Store, stamp clock.Timestamp, op Op) {
	t.Helper()
	if _, err := s.Apply(stamp, 0, op); err != nil {
		t.Fatal(err)
	}
}

// What was reported as expired stays away when the clock was set back.
func TestWhatExpiredStaysAwayAfterARestart(t *testing.T) {
	s := New(Config{Actor: clock.Actor{Birth: 1, Rand: 1}, Journal: true})
	for key, expiry := range map[string]uint64{"short": 1000, "long": 9000} {
		if _, err := s.Apply(1<<20, 0, Op{Verb: Put, Key: key, Value: num(1), Expiry: expiry}); err != nil {
			t.Fatal(err)
		}
	}
	first := s.AppendJournal(nil)
	s.Expire(2000)
	back := restored(t, first, s.AppendJournal(nil))
	for key, want := range map[string]bool{"short": false, "long": true} {
		if _, there := back.Render(key, 500); there != want {
			t.Errorf("%s is there: %v, with the clock set back", key, there)
		}
	}
}

func TestABrokenEntryIsRefusedByItsNumber(t *testing.T) {
	good := New(Config{Actor: clock.Actor{Birth: 1, Rand: 1}, Journal: true})
	if _, err := good.Apply(1<<20, 0, Op{Verb: Put, Key: "k", Value: num(1)}); err != nil {
		t.Fatal(err)
	}
	entry := good.AppendJournal(nil)
	for cut := range entry {
		s := New(Config{Actor: clock.Actor{Birth: 2, Rand: 2}})
		if err := s.Restore(logged(entry[:cut])); err == nil || !strings.HasPrefix(err.Error(), "entry 0 ") || s.Len() != 0 {
			t.Errorf("cut at %d: %v", cut, err)
		}
	}
}

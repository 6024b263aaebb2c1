package gossip

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// pairOf returns two engines over stores of the actors self and other, with each other in their views.
func pairOf(a, b *crdt.Store) []*Engine {
	engines := []*Engine{New(Config{Self: self, Cluster: "c", Seed: 1}, a), New(Config{Self: other, Cluster: "c", Seed: 1}, b)}
	engines[0].SetView(t0, []Peer{{other, "b", true}})
	engines[1].SetView(t0, []Peer{{self, "a", true}})
	return engines
}

var self, other = clock.Actor{Birth: 1, Rand: 1}, clock.Actor{Birth: 1, Rand: 2}

// converse runs two engines until their states are equal, for a minute at most. It returns the time that this took,
// and the bytes of the largest frame.
func converse(t *testing.T, engines []*Engine) (took time.Duration, largest int) {
	t.Helper()
	now := t0
	for ; now.Sub(t0) < time.Minute && engines[0].StateHash() != engines[1].StateHash(); now = now.Add(10 * time.Millisecond) {
		for i, e := range engines {
			if due(e.Deadline(), now) {
				e.Tick(now)
			}
			for _, sent := range e.Envelopes() {
				largest = max(largest, len(sent.Frame))
				if err := engines[1-i].Receive(now, sent.Frame); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return now.Sub(t0), largest
}

// Two peers that hold different contents for one dot find the difference, and keep the same content.
func TestADotWithTwoContentsIsFoundAndDecided(t *testing.T) {
	liar := clock.Actor{Birth: 2, Rand: 9}
	stores := []*crdt.Store{crdt.New(crdt.Config{Actor: self}), crdt.New(crdt.Config{Actor: other})}
	const dots = 300
	for i, s := range stores {
		told := crdt.New(crdt.Config{Actor: liar})
		for n := range dots {
			op := put(t, fmt.Sprint("k", n), n)
			if n%3 == i {
				op = put(t, fmt.Sprint("k", n), strings.Repeat("lie", n))
			}
			deltas, err := told.Apply(clock.TimestampAt(t0), 1, op)
			if err != nil {
				t.Fatal(err)
			}
			var actors crdt.ActorTable
			r := wire.NewReader(told.AppendSection(nil, &actors, liar, deltas[0].Seq(), deltas[0].Seq(), deltas))
			if _, err := s.JoinSection(&r, actors.Actors(), math.MaxUint64); err != nil {
				t.Fatal(err)
			}
		}
	}
	took, _ := converse(t, pairOf(stores[0], stores[1]))
	for n := range dots {
		key := fmt.Sprint("k", n)
		a, _ := stores[0].Render(key, uint64(t0.UnixMilli()))
		b, _ := stores[1].Render(key, uint64(t0.UnixMilli()))
		if a.Value() != b.Value() || a.Kind() == 0 {
			t.Errorf("after %v %s reads %v here and %v there", took, key, a.Value(), b.Value())
		}
	}
	for i, s := range stores {
		if got, _ := s.Rivals(); got == 0 {
			t.Errorf("peer %d counts none", i)
		}
	}
}

// However many records one peer has dropped and the other has kept, the frames stay small, and the peers
// agree in the end.
func TestALargeDifferenceIsMadeGoodInPieces(t *testing.T) {
	const keys, atOnce = 100_000, 1000
	value, _ := crdt.ValueOf(1)
	dropped := crdt.New(crdt.Config{Actor: self, MaxRemovals: 100})
	kept := crdt.New(crdt.Config{Actor: other})
	apply := func(stamp clock.Timestamp, op func(i int) crdt.Op) []crdt.Delta {
		ops := make([]crdt.Op, atOnce)
		for i := range ops {
			ops[i] = op(i)
		}
		deltas, err := dropped.Apply(stamp, 1, ops...)
		if err != nil {
			t.Fatal(err)
		}
		return deltas
	}
	stamp := clock.TimestampAt(t0)
	for n := 0; n < keys; n += atOnce {
		deltas := apply(stamp, func(i int) crdt.Op { return crdt.Op{Verb: crdt.Put, Key: fmt.Sprint("k", n+i), Value: value} })
		var actors crdt.ActorTable
		section := dropped.AppendSection(nil, &actors, self, deltas[0].Seq(), deltas[atOnce-1].Seq(), deltas)
		r := wire.NewReader(section)
		if _, err := kept.JoinSection(&r, actors.Actors(), math.MaxUint64); err != nil {
			t.Fatal(err)
		}
	}
	for n := 0; n < keys; n += 2 * atOnce {
		apply(stamp+1, func(i int) crdt.Op { return crdt.Op{Verb: crdt.Delete, Key: fmt.Sprint("k", n+2*i)} })
	}
	dropped.Changes()
	kept.Changes()

	took, largest := converse(t, pairOf(dropped, kept))
	agree := func() bool { return dropped.Sum() == kept.Sum() && dropped.Context().Equal(kept.Context()) }
	if !agree() || kept.Len() != keys/2 || largest > 300_000 {
		t.Errorf("after %v they agree: %v; %d of %d keys are kept, the largest frame had %d B", took, agree(), kept.Len(), keys/2, largest)
	}
}

// A value that breaks in memory, and is overwritten later, leaves no lasting difference of the checksums.
func TestBrokenMemoryIsNoLastingDifference(t *testing.T) {
	a, b := crdt.New(crdt.Config{Actor: self}), crdt.New(crdt.Config{Actor: other})
	write := func(v string) {
		deltas, err := a.Apply(clock.TimestampAt(t0)+clock.Timestamp(len(v)), 1, put(t, "k", v))
		if err != nil {
			t.Fatal(err)
		}
		var actors crdt.ActorTable
		r := wire.NewReader(a.AppendSection(nil, &actors, self, deltas[0].Seq(), deltas[0].Seq(), deltas))
		if _, err := b.JoinSection(&r, actors.Actors(), math.MaxUint64); err != nil {
			t.Fatal(err)
		}
	}
	write("breaks")
	e, _, _ := b.Load("k")
	*unsafe.StringData(e.Value().Raw()[1:]) ^= 1
	write("does not break")
	if a.Sum() == b.Sum() {
		t.Fatal("nothing broke")
	}
	if took, _ := converse(t, pairOf(a, b)); took >= time.Minute {
		t.Error("the checksums differ for ever")
	}
}

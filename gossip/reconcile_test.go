package gossip

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// However many records one side has dropped and the other kept, the frames stay small,
// and the sides agree in the end.
func TestALargeDifferenceIsMadeGoodInPieces(t *testing.T) {
	const keys, atOnce = 100_000, 1000
	value, _ := crdt.ValueOf(1)
	self, other := clock.Actor{Birth: 1, Rand: 1}, clock.Actor{Birth: 1, Rand: 2}
	dropped := crdt.New(crdt.Config{Actor: self, MaxRemoves: 100})
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

	engines := []*Engine{New(Config{Self: self, Cluster: "c", Seed: 1}, dropped), New(Config{Self: other, Cluster: "c", Seed: 1}, kept)}
	engines[0].SetView(t0, []Peer{{other, "b", true}})
	engines[1].SetView(t0, []Peer{{self, "a", true}})
	agree := func() bool { return dropped.Sum() == kept.Sum() && dropped.Context().Equal(kept.Context()) }
	now, largest := t0, 0
	for ; now.Sub(t0) < time.Minute && !agree(); now = now.Add(10 * time.Millisecond) {
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
	if !agree() || kept.Len() != keys/2 || largest > 300_000 {
		t.Errorf("after %v they agree: %v; %d of %d keys are kept, the largest frame had %d B", now.Sub(t0), agree(), kept.Len(), keys/2, largest)
	}
}

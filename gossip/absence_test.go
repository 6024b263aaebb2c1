package gossip

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// holders returns n machines that all hold the given number of records, written by the last machine.
func holders(t *testing.T, n, records int) []*machine {
	t.Helper()
	list := cluster(n)
	var ops []crdt.Op
	for i := range records {
		ops = append(ops, put(t, fmt.Sprint("k", i), i))
	}
	for _, e := range list[n-1].write(t, t0, ops...) {
		for _, m := range list {
			if m.cfg.Self == e.To {
				m.takes(t, t0, e.Frame)
			}
		}
	}
	for _, m := range list {
		if m.store.Len() != records {
			t.Fatal("records are missing")
		}
	}
	return list
}

// empties makes a frame with an empty list: it says that from holds no record of the writer from a number on.
func empties(from *machine, writer clock.Actor, first uint64) []byte {
	w := from.begin()
	w.section(secLists, 3+5)
	w.uint(from.contextHash())
	w.mask(shardMask{math.MaxUint64, math.MaxUint64, math.MaxUint64, math.MaxUint64})
	w.bool(false)
	w.dot(clock.Dot{Actor: writer, Seq: first})
	w.dot(allDots[1])
	w.array(0)
	return from.finish(w, 0, false)
}

// An empty list of 118 bytes removes nothing for ten minutes, and another peer is asked. A peer that
// repeats it for so long is believed, so that no two peers differ for ever.
func TestAListThatTakesMuchIsBelievedInTenMinutes(t *testing.T) {
	list := holders(t, 3, 200)
	ann, bob, eve := list[0], list[1], list[2]
	lie := empties(eve, eve.cfg.Self, 1)
	out := ann.takes(t, t0, lie)
	if len(lie) > 130 || ann.store.Len() != 200 || len(out) != 1 || out[0].To != bob.cfg.Self || !slices.Contains(kinds(out[0].Frame), secSums) {
		t.Fatalf("%d B leave %d of 200 records, or bob is not asked", len(lie), ann.store.Len())
	}
	if n := ann.Stats().Disputed; n != 200 {
		t.Errorf("%d records are in dispute, want 200", n)
	}
	if out := ann.takes(t, t0.Add(confirmEvery/2), lie); len(out) != 0 {
		t.Error("bob is asked again at once")
	}
	if ann.takes(t, t0.Add(believeAfter-time.Second), lie); ann.store.Len() != 200 {
		t.Errorf("%d of 200 records are left before ten minutes are over", ann.store.Len())
	}
	if ann.takes(t, t0.Add(believeAfter), lie); ann.store.Len() != 0 || ann.Stats().Disputed != 0 {
		t.Errorf("%d records are left after ten minutes, %d in dispute", ann.store.Len(), ann.Stats().Disputed)
	}
	lost := ann.store.Conflicts(nil, 1000)
	if len(lost) != 200 || lost[0].Winner.Dot.Actor != eve.cfg.Self || lost[199].Key != "k0" || lost[199].Loser.Value.IsZero() {
		t.Errorf("the journal has %d entries of 200", len(lost))
	}
}

// Records that two peers report as absent are dropped at once, and no others.
func TestWhatTwoSayIsGoneGoes(t *testing.T) {
	list := holders(t, 4, 200)
	ann, bob, sam, eve := list[0], list[1], list[2], list[3]
	ann.takes(t, t0, empties(eve, eve.cfg.Self, 1))
	for seq := uint64(1); seq <= 150; seq++ {
		bob.store.Drop(clock.Dot{Actor: eve.cfg.Self, Seq: seq}, eve.cfg.Self, 1)
	}
	now := t0.Add(time.Second)
	ann.sendSums(now, ann.byActor[bob.cfg.Self])
	bob.takes(t, now, ann.Envelopes()[0].Frame)
	bob.sendSums(now, bob.byActor[ann.cfg.Self])
	exchange(t, &now, time.Second, ann, bob, sam)
	if ann.store.Len() != 50 || ann.store.Sum() != bob.store.Sum() {
		t.Errorf("%d of 200 records are left, want the 50 that bob has", ann.store.Len())
	}
	if n := len(ann.byActor[eve.cfg.Self].absent); n != 50 {
		t.Errorf("%d records are still said to be gone by eve alone, want 50", n)
	}
}

// A peer's report of absent records is forgotten when its state equals this peer's again, when a list of it
// names the records, or when it goes down.
func TestWhatIsTakenBackWasNotSaid(t *testing.T) {
	list := holders(t, 3, 200)
	ann, bob, eve := list[0], list[1], list[2]
	p := ann.byActor[eve.cfg.Self]
	for name, f := range map[string]func(){
		"agrees": func() {
			w := eve.begin()
			eve.writeDigest(w, t0, 0)
			ann.takes(t, t0, eve.finish(w, 0, false))
		},
		"goes": func() { ann.meets(t0, []*machine{bob}, []*machine{eve}); ann.meets(t0, []*machine{bob, eve}, nil) },
		"names": func() {
			eve.writeLists(eve.begin(), shardMask{math.MaxUint64, math.MaxUint64, math.MaxUint64, math.MaxUint64}, []dotList{eve.list(allDots[0], allDots[1], shardMask{math.MaxUint64, math.MaxUint64, math.MaxUint64, math.MaxUint64})}, false)
			ann.takes(t, t0, eve.finish(&eve.frame, 0, false))
		},
	} {
		ann.takes(t, t0, empties(eve, eve.cfg.Self, 1))
		if len(p.absent) != 200 {
			t.Fatalf("before eve %s, %d records are in dispute", name, len(p.absent))
		}
		if f(); len(p.absent) != 0 {
			t.Errorf("after eve %s, %d records are in dispute", name, len(p.absent))
		}
	}
}

// A few records in ten minutes, and not in each list, are dropped for one peer's report alone. If no other
// peer answers, the report is believed whole.
func TestAFewRecordsGoAtAWord(t *testing.T) {
	list := holders(t, 3, 200)
	ann, bob, eve := list[0], list[1], list[2]
	writer, now := eve.cfg.Self, t0.Add(time.Second)
	for range 2 {
		ann.takes(t, now, empties(eve, writer, 200-maxUnconfirmedDrops+1))
		ann.takes(t, now, empties(eve, writer, 200-2*maxUnconfirmedDrops+1))
	}
	if ann.store.Len() != 200-maxUnconfirmedDrops || ann.Stats().Disputed != maxUnconfirmedDrops {
		t.Errorf("%d records are left, %d in dispute", ann.store.Len(), ann.Stats().Disputed)
	}
	if ann.takes(t, now, empties(eve, writer, 200-2*maxUnconfirmedDrops+1)); ann.store.Len() != 200-maxUnconfirmedDrops {
		t.Errorf("%d records are left", ann.store.Len())
	}
	for range silentRequests {
		ann.sendSyncRequest(now, ann.byActor[bob.cfg.Self])
	}
	if ann.takes(t, now.Add(silentAfter), empties(eve, writer, 1)); ann.store.Len() != 0 {
		t.Errorf("%d records are left although eve alone answers", ann.store.Len())
	}
}

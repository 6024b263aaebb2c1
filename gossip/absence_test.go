package gossip

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// holders is n machines that all have so many records of the last of them.
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
				if err := m.Receive(t0, e.Frame); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for _, m := range list {
		if m.Envelopes(); m.store.Len() != records {
			t.Fatal("records are missing")
		}
	}
	return list
}

// empties is a list of all that from holds, which it says is nothing from a number on.
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

func (m *machine) takes(t *testing.T, now time.Time, frame []byte) []Envelope {
	t.Helper()
	if err := m.Receive(now, frame); err != nil {
		t.Fatal(err)
	}
	return m.Envelopes()
}

// A list of 118 bytes that names nothing takes nothing, as long as another holds it.
func TestAListThatTakesMuchIsAskedOfAnother(t *testing.T) {
	list := holders(t, 4, 200)
	ann, bob, sam, eve := list[0], list[1], list[2], list[3]
	lie := empties(eve, eve.cfg.Self, 1)
	out := ann.takes(t, t0, lie)
	if len(lie) > 130 || ann.store.Len() != 200 || len(out) != 1 || out[0].To == eve.cfg.Self {
		t.Fatalf("%d B leave %d of 200 records, and %d questions", len(lie), ann.store.Len(), len(out))
	}
	ann.takes(t, t0, lie) // one question at a time
	holder := bob
	if out[0].To == sam.cfg.Self {
		holder = sam
	}
	ann.takes(t, t0, holder.takes(t, t0, out[0].Frame)[0].Frame)
	s := ann.Stats()
	if d := ann.Dispute(); ann.store.Len() != 200 || s.ListsDoubted != 1 || s.RecordsDisputed != 200 || d.Teller != eve.cfg.Self || d.Holder != holder.cfg.Self || d.Records != 200 {
		t.Errorf("%d of 200 records are left; %+v, %d doubted, %d disputed", ann.store.Len(), d, s.ListsDoubted, s.RecordsDisputed)
	}
	if out := ann.takes(t, t0, lie); len(out) != 0 || ann.store.Len() != 200 {
		t.Errorf("the lie again makes %d questions and leaves %d records", len(out), ann.store.Len())
	}
	if out := ann.takes(t, t0.Add(disputeStays), lie); len(out) != 1 {
		t.Errorf("a minute later it makes %d questions", len(out))
	}
}

// What two say is gone goes, and the journal says what it was and who said so.
func TestWhatTwoSayIsGoneGoes(t *testing.T) {
	list := holders(t, 3, 200)
	ann, bob, eve := list[0], list[1], list[2]
	for seq := uint64(1); seq <= 150; seq++ {
		bob.store.Drop(clock.Dot{Actor: eve.cfg.Self, Seq: seq}, eve.cfg.Self, 1)
	}
	out := ann.takes(t, t0, empties(eve, eve.cfg.Self, 1))
	ann.takes(t, t0, bob.takes(t, t0, out[0].Frame)[0].Frame)
	if ann.store.Len() != 50 || ann.Stats().RecordsDisputed != 50 {
		t.Errorf("%d records are left, %d are disputed; want 50 of 200 each", ann.store.Len(), ann.Stats().RecordsDisputed)
	}
	lost := ann.store.Conflicts(nil, 1000)
	if len(lost) != 150 || lost[0].Winner.Dot.Actor != eve.cfg.Self || lost[149].Key != "k0" || lost[149].Loser.Value.IsZero() {
		t.Errorf("the journal has %d entries of 150", len(lost))
	}
}

// Nobody's silence takes anything, nor stops the next question; who is alone with a peer
// takes its word.
func TestSilenceTakesNothing(t *testing.T) {
	list := holders(t, 6, 200)
	ann, eve := list[0], list[5]
	lie := empties(eve, eve.cfg.Self, 1)
	now := t0
	asked := map[clock.Actor]bool{}
	for out := ann.takes(t, now, lie); ann.absence != nil; out = ann.Envelopes() {
		for _, e := range out {
			for _, kind := range kinds(e.Frame) {
				asked[e.To] = asked[e.To] || kind == secGone
			}
		}
		if now = ann.Deadline(); now.Sub(t0) > time.Minute {
			t.Fatal("the question never ends")
		}
		ann.Tick(now)
	}
	if len(asked) != doubtTries || asked[eve.cfg.Self] || ann.store.Len() != 200 {
		t.Errorf("%d were asked, eve among them: %v; %d records are left", len(asked), asked[eve.cfg.Self], ann.store.Len())
	}
	if out := ann.takes(t, now, lie); len(out) == 0 {
		t.Error("the next list makes no question")
	}
	ann.meets(now, []*machine{eve}, list[1:5])
	ann.Tick(now.Add(time.Hour))
	ann.Envelopes()
	if ann.takes(t, now, lie); ann.store.Len() != 0 || len(ann.store.Conflicts(nil, 1000)) != 200 {
		t.Errorf("alone with eve, %d records are left, %d entries in the journal", ann.store.Len(), len(ann.store.Conflicts(nil, 1000)))
	}
}

// A few records go at a word, and many of such lists make a question.
func TestManyListsThatTakeLittleTakeMuch(t *testing.T) {
	list := holders(t, 3, 200)
	ann, eve := list[0], list[2]
	writer := eve.cfg.Self
	for i, want := range []int{200 - takenAtWord, 200 - takenAtWord} {
		ann.takes(t, t0, empties(eve, writer, uint64(200-takenAtWord*(i+1)+1)))
		if ann.store.Len() != want {
			t.Errorf("%d records are left after the %dth list, want %d", ann.store.Len(), i+1, want)
		}
	}
	if ann.Stats().ListsDoubted != 1 {
		t.Error("the second list is not doubted")
	}
	ann.Tick(t0.Add(30 * time.Second))
	ann.takes(t, t0.Add(time.Minute), empties(eve, writer, uint64(200-2*takenAtWord+1)))
	if ann.store.Len() != 200-2*takenAtWord {
		t.Errorf("a minute later %d records are left", ann.store.Len())
	}
}

package gossip

import (
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

func TestAWriteFromTheFutureWaitsForItsTime(t *testing.T) {
	a, b := newMachine(ann, nil), newMachine(bob, nil)
	ahead := t0.Add(time.Hour)
	frame := a.write(t, ahead, put(t, "k", 1))[0].Frame
	if err := b.Receive(t0, frame); err != nil {
		t.Fatal(err)
	}
	if b.store.Len() != 0 || b.store.Context().Contains(clock.Dot{Actor: ann, Seq: 1}) || b.store.Stats().Quarantined != 1 {
		t.Fatal("a write an hour ahead was merged, or marked as seen")
	}
	if b.MaxStamp() > clock.TimestampAt(t0.Add(time.Minute)) {
		t.Fatal("it moved the clock")
	}
	if err := b.Receive(ahead, frame); err != nil || b.store.Len() != 1 {
		t.Fatalf("in its time it is not merged: %v", err)
	}
}

// If two clocks disagree, the one that is ahead is taken to be wrong. Of three clocks, the one that differs
// from the two others is.
func TestTheClusterTimeIsTheLowerMedian(t *testing.T) {
	f := func(want time.Duration, offsets ...time.Duration) {
		t.Helper()
		m := cluster(len(offsets) + 1)[0]
		for i, o := range offsets {
			m.reports[i].offset, m.reports[i].heard = o, true
		}
		m.setOffset(t0)
		if got := m.Offset(); got != want {
			t.Errorf("%v: %v, want %v", offsets, got, want)
		}
	}
	f(0)
	f(-time.Hour, -time.Hour)
	f(0, time.Hour)
	f(-time.Hour, -time.Hour, -time.Hour)
	f(0, time.Hour, 0)
	f(time.Hour, time.Hour, time.Hour)
}

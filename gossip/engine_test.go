package gossip

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

func TestSomebodyElseWritingAsThisActorIsNoticed(t *testing.T) {
	a, twin, b := newMachine(ann, nil), newMachine(ann, nil), newMachine(bob, nil)
	a.write(t, t0, put(t, "k", 1))
	if err := b.Receive(t0, twin.write(t, t0, put(t, "x", 1), put(t, "y", 2))[0].Frame); err != nil {
		t.Fatal(err)
	}
	b.sendSyncRequest(t0, b.peers[0])
	if err := a.Receive(t0, pick(t, b.Envelopes(), secSyncRequest)); err != nil {
		t.Fatal(err)
	}
	if !a.Cloned() {
		t.Fatal("not noticed")
	}
	a.SetSelf(clock.Actor{Birth: 9, Rand: 9})
	if a.Cloned() {
		t.Fatal("still, as another actor")
	}
}

// Engines with equal inputs send equal frames, whatever the order in which Go ranges over their maps.
func TestOutputIsAFunctionOfInput(t *testing.T) {
	play := func() string {
		list := cluster(12)
		var log strings.Builder
		to := list[0]
		for _, from := range list[1:] { // one gap for each of many actors
			from.write(t, t0, put(t, "a", 1))
			for _, p := range from.peers {
				p.behind = false
			}
			ds, err := from.store.Apply(from.hlc.Now(t0), 0, put(t, "b", 1))
			if err != nil {
				t.Fatal(err)
			}
			w := from.begin()
			w.deltas(from.store, secDeltas, from.cfg.Self, 2, 2, ds)
			if err := to.Receive(t0, from.finish(w, 1, false)); err != nil {
				t.Fatal(err)
			}
			w = from.begin()
			w.heads([]head{{from.cfg.Self, 2}}, true)
			if err := to.Receive(t0, from.finish(w, 0, false)); err != nil {
				t.Fatal(err)
			}
		}
		to.Tick(t0.Add(time.Second))
		for _, e := range to.Envelopes() {
			fmt.Fprintf(&log, "%v %d %x\n", e.To, e.Class, e.Frame)
		}
		return log.String()
	}
	first := play()
	if strings.Count(first, "\n") < 10 {
		t.Fatalf("only %d frames: the test is too tame", strings.Count(first, "\n"))
	}
	for range 10 {
		if play() != first {
			t.Fatal("the same input gave another output")
		}
	}
}

// What Lost and Window make due is in Deadline, so an owner that waits for it calls Tick at once. Envelopes
// that are lost together cause one digest.
func TestWhatAShellTellsIsDueAtOnce(t *testing.T) {
	a := newMachine(ann, func(c *Config) { c.DigestMax = time.Hour })
	for now := t0; now.Before(t0.Add(time.Hour)); now = now.Add(time.Minute) {
		a.Tick(now)
	}
	now, had := t0.Add(time.Hour), a.Stats().Digests
	lost := func() {
		for range 100 {
			a.Lost(now, bob)
		}
		if due(a.Deadline(), now) {
			a.Tick(now)
		}
	}
	lost()
	if n := a.Stats().Digests - had; n != 1 {
		t.Errorf("%d digests when a stream broke, want 1", n)
	}
	lost()
	now = now.Add(a.cfg.DigestInterval)
	lost()
	if n := a.Stats().Digests - had; n != 2 {
		t.Errorf("%d digests when it broke again, want 2", n)
	}
	a.Window(bob, 0)
	a.write(t, now, put(t, "key", strings.Repeat("v", 5000)))
	if n, _ := a.Pending(); n != 1 {
		t.Fatalf("%d writes wait for a window", n)
	}
	if a.Window(bob, 1<<20); !due(a.Deadline(), now) {
		t.Error("a window opens, and what waits for it is not due")
	}
}

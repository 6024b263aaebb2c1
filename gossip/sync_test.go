package gossip

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// Under load an answer takes longer than the pause between digests, and than its request waits. There
// is still only one sync: no answer is followed twice.
func TestASlowSyncStaysOne(t *testing.T) {
	a, b := newMachine(ann, nil), newMachine(bob, nil)
	for i := range 20_000 {
		a.write(t, t0, put(t, fmt.Sprint("key-", i), strings.Repeat("v", 200)))
	}
	now := t0
	var late [][]byte // frames on their way to b
	for round := 0; b.store.Sum() != a.store.Sum(); round++ {
		if round == 100 {
			t.Fatalf("%d of 20000 keys after %d rounds", b.store.Len(), round)
		}
		for range 5 {
			now = now.Add(300 * time.Millisecond)
			a.Tick(now)
			a.sendDigest(now, a.peers[0])
			late = append(late, frames(a.Envelopes())...)
			b.Tick(now)
			for _, f := range frames(b.Envelopes()) {
				if err := a.Receive(now, f); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, f := range append(late, frames(a.Envelopes())...) {
			if err := b.Receive(now, f); err != nil {
				t.Fatal(err)
			}
		}
		late = late[:0]
	}
	if received := b.Stats().DeltasReceived; received > 60_000 {
		t.Errorf("20,000 records took %d, in %d requests", received, b.Stats().SyncRequests)
	}
}

// Records above a context that is held are not sent again.
func TestWhatWasToldInVainIsNotToldAgain(t *testing.T) {
	ann, bob, dan := overwritten(t)
	ann.meets(t0, []*machine{bob, newMachine(clock.Actor{Birth: 1, Rand: 4}, nil)}, []*machine{dan})
	now := t0.Add(time.Second)
	for i := range 100 {
		ds, err := bob.store.Apply(bob.hlc.Now(now), 0, put(t, fmt.Sprint("many", i%50), i))
		if err != nil {
			t.Fatal(err)
		}
		bob.noteInFlight(now, bob.cfg.Self, ds[0].Seq())
	}
	now = now.Add(time.Minute)
	for range 2 {
		bob.ageFlights(now)
	}
	p := ann.byActor[bob.cfg.Self]
	for i := range 5 {
		before := ann.Stats()
		ann.requestSync(now, p)
		exchange(t, &now, 2*time.Second, ann, bob)
		if more := ann.Stats().DeltasReceived - before.DeltasReceived; (more > 0) != (i == 0) {
			t.Errorf("the %dth sync brings %d records", i+1, more)
		}
	}
	if p.held == nil || ann.store.Len() != bob.store.Len() {
		t.Error("the context is not held, or keys are missing")
	}
}

// Two peers whose syncs bring nothing request them less and less often. A peer that was down is asked at once.
func TestASyncThatBroughtNothingIsFollowedByAPause(t *testing.T) {
	list := cluster(2)
	ann, bob := list[0], list[1]
	now := t0.Add(time.Second)
	p := ann.byActor[bob.cfg.Self]
	for _, want := range []time.Duration{50, 100, 200, 400, 800, 1000, 1000} {
		tell(t, now, ann, bob, clock.NewContext())
		ann.Envelopes()
		if got := p.notBefore.Sub(now); got != want*time.Millisecond {
			t.Errorf("the next sync is %v away, want %v", got, want*time.Millisecond)
		}
		ann.requestSync(now, p)
		if out := ann.Envelopes(); len(out) != 0 || p.digestDueAt != p.notBefore {
			t.Fatalf("within the pause %d frames are sent; notes are compared at %v", len(out), p.digestDueAt.Sub(now))
		}
		now = p.notBefore
		ann.Tick(now)
		ann.Envelopes()
	}
	tell(t, now, ann, bob, clock.NewContext())
	view := []Peer{p.Peer}
	view[0].Alive = false
	ann.SetView(now, view)
	view[0].Alive = true
	ann.SetView(now, view)
	ann.requestSync(now, ann.byActor[bob.cfg.Self])
	if len(ann.Envelopes()) == 0 {
		t.Error("a peer that is back is not asked at once")
	}
	tell(t, now, ann, bob, seenOf(bob.cfg.Self, 3))
	if p := ann.byActor[bob.cfg.Self]; p.notBefore.After(now) || ann.store.Context().Span(bob.cfg.Self).Base != 3 {
		t.Error("after a sync that brought something there is a pause")
	}
}

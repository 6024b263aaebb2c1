package gossip

import (
	"fmt"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// tell gives m the last reply of a sync with from, with the context seen, and returns the frame.
func tell(t testing.TB, now time.Time, m, from *machine, seen *clock.CausalContext) []byte {
	t.Helper()
	p := m.byActor[from.cfg.Self]
	m.sendSyncRequest(now, p)
	w := from.begin()
	w.section(secSyncReply, 6)
	w.uint(p.lastRequest)
	w.bool(false)
	w.uint(0)
	w.uint(0)
	w.uint(0)
	w.body = seen.AppendTo(w.body)
	frame := from.finish(w, 0, false)
	if err := m.Receive(now, frame); err != nil {
		t.Fatal(err)
	}
	return frame
}

// seenOf returns a context with the dots of a up to seq.
func seenOf(a clock.Actor, seq uint64) *clock.CausalContext {
	c := clock.NewContext()
	c.AddRange(a, 1, seq)
	return c
}

// asksInVain makes m send others so many requests without an answer that they count as silent.
func (m *machine) asksInVain(others ...*machine) {
	for _, o := range others {
		for range silentRequests {
			m.sendSyncRequest(t0, m.byActor[o.cfg.Self])
		}
	}
}

// A peer that claims to have seen 2^40 writes of another suppresses none of the writes that follow: neither at
// the peers that it tells, nor at those that sync with them.
func TestNobodysWordAloneSaysHowMuchAnotherWrote(t *testing.T) {
	list := cluster(4)
	ann, bob, xan, eve := list[0], list[1], list[2], list[3]
	now := t0.Add(time.Second)
	for _, m := range []*machine{ann, bob} {
		if frame := tell(t, now, m, eve, seenOf(xan.cfg.Self, 1<<40)); len(frame) > 70 {
			t.Errorf("the lie takes %d B", len(frame))
		}
	}
	tell(t, now, ann, bob, seenOf(bob.cfg.Self, 0))
	honest := []*machine{ann, bob, xan}
	for i := range 20 { // heads come before the writes
		sent := xan.write(t, now, put(t, fmt.Sprint("k", i), i))
		xan.announceHeads(now.Add(headDelay))
		for _, e := range append(xan.Envelopes(), sent...) {
			for _, m := range honest {
				if m.cfg.Self == e.To {
					if err := m.Receive(now, e.Frame); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		exchange(t, &now, 300*time.Millisecond, honest...)
		tell(t, now, ann, eve, seenOf(xan.cfg.Self, 1<<40))
	}
	exchange(t, &now, 5*time.Second, honest...)
	for _, m := range honest {
		if m.store.Len() != 20 || m.store.Context().Span(xan.cfg.Self).Head() != 20 {
			t.Errorf("%v has %d of 20 keys, and has seen up to %d", m.cfg.Self, m.store.Len(), m.store.Context().Span(xan.cfg.Self).Head())
		}
		if m.Cloned() {
			t.Errorf("%v takes itself for a clone", m.cfg.Self)
		}
	}
	if ann.Stats().ContextsHeld == 0 {
		t.Error("none of this is counted")
	}
}

// overwritten returns three machines. A write of dan reached bob alone, and a write of bob overwrote it, which
// ann got. So the dot of dan is gone at bob and unknown to ann.
func overwritten(t *testing.T) (ann, bob, dan *machine) {
	list := cluster(4)
	ann, bob, dan = list[0], list[1], list[2]
	if err := bob.Receive(t0, dan.write(t, t0, put(t, "k", "dan's"))[1].Frame); err != nil {
		t.Fatal(err)
	}
	bob.hlc.Observe(bob.MaxStamp())
	if err := ann.Receive(t0, bob.write(t, t0, put(t, "k", "bob's"))[0].Frame); err != nil {
		t.Fatal(err)
	}
	if ann.store.Context().Span(dan.cfg.Self) != nil || bob.store.Context().Span(dan.cfg.Self) == nil {
		t.Fatal("the write of dan is not where it should be")
	}
	return ann, bob, dan
}

// A context that names writes which only its sender has seen is adopted as soon as it can suppress no
// write, and not before.
func TestTheLastWritesOfThoseWhoAreGone(t *testing.T) {
	for name, c := range map[string]struct {
		view func(ann, bob, dan, sam *machine)
		wait time.Duration
		want bool
	}{
		"who is up is asked":        {func(ann, bob, dan, sam *machine) { ann.meets(t0, []*machine{bob, dan, sam}, nil) }, 0, false},
		"who is down may come back": {func(ann, bob, dan, sam *machine) { ann.meets(t0, []*machine{bob, sam}, []*machine{dan}) }, 0, false},
		"not after long":            {func(ann, bob, dan, sam *machine) { ann.meets(t0, []*machine{bob, sam}, []*machine{dan}) }, believeAfter, true},
		"who was forgotten": {func(ann, bob, dan, sam *machine) {
			ann.meets(t0, []*machine{bob, sam}, nil)
			tell(t, t0.Add(-membershipLag), ann, bob, bob.store.Context())
		}, 0, true},
		"others come and go meanwhile": {func(ann, bob, dan, sam *machine) {
			ann.meets(t0, []*machine{bob, sam}, []*machine{dan})
			ann.meets(t0.Add(believeAfter-time.Second), []*machine{bob, sam, newMachine(clock.Actor{Birth: 1, Rand: 5}, nil)}, []*machine{dan})
		}, believeAfter, true},
		"who says so was out of sight itself": {func(ann, bob, dan, sam *machine) {
			ann.meets(t0, []*machine{sam}, []*machine{bob, dan})
			ann.meets(t0.Add(time.Second), []*machine{bob, sam}, []*machine{dan})
		}, believeAfter, false},
		"who is up does not answer": {func(ann, bob, dan, sam *machine) {
			ann.meets(t0, []*machine{bob, dan, sam}, nil)
			ann.asksInVain(dan)
		}, silentAfter, false},
		"nor for long": {func(ann, bob, dan, sam *machine) {
			ann.meets(t0, []*machine{bob, dan, sam}, nil)
			ann.asksInVain(dan)
		}, believeAfter, true},
		"it has answered since": {func(ann, bob, dan, sam *machine) {
			ann.meets(t0, []*machine{bob, dan, sam}, nil)
			ann.asksInVain(dan)
			tell(t, t0.Add(silentAfter), ann, dan, clock.NewContext())
		}, believeAfter, false},
		"it was not asked often": {func(ann, bob, dan, sam *machine) {
			ann.meets(t0, []*machine{bob, dan, sam}, nil)
			ann.sendSyncRequest(t0, ann.byActor[dan.cfg.Self])
		}, believeAfter, false},
		"nobody else answers": {func(ann, bob, dan, sam *machine) {
			ann.meets(t0, []*machine{bob, dan, sam}, nil)
			ann.asksInVain(dan, sam)
		}, silentAfter, true},
		"who does not answer counts others": {func(ann, bob, dan, sam *machine) {
			eve := newMachine(clock.Actor{Birth: 1, Rand: 5}, nil)
			ann.meets(t0, []*machine{bob, sam, eve}, nil)
			ann.asksInVain(eve)
			tell(t, t0, ann, bob, bob.store.Context())
			ann.byActor[eve.cfg.Self].membersHash++
		}, silentAfter, true},
		"somebody counts others for long": {func(ann, bob, dan, sam *machine) {
			ann.meets(t0, []*machine{bob, sam}, nil)
			tell(t, t0, ann, bob, bob.store.Context())
			ann.byActor[sam.cfg.Self].membersHash++
		}, believeAfter, true},
		"there is nobody else":     {func(ann, bob, dan, sam *machine) { ann.meets(t0, []*machine{bob}, []*machine{dan, sam}) }, 0, true},
		"who may be about to join": {func(ann, bob, dan, sam *machine) { ann.meets(t0, []*machine{bob, sam}, nil) }, 0, false},
		"somebody counts others": {func(ann, bob, dan, sam *machine) {
			ann.meets(t0, []*machine{bob, sam}, nil)
			tell(t, t0.Add(-membershipLag), ann, bob, bob.store.Context())
			ann.byActor[sam.cfg.Self].membersHash++
		}, 0, false},
		"another peer has seen them": {func(ann, bob, dan, sam *machine) {
			ann.meets(t0, []*machine{bob, sam}, []*machine{dan})
			tell(t, t0, ann, sam, bob.store.Context())
		}, 0, true},
		"it has spoken of them": {func(ann, bob, dan, sam *machine) { ann.byActor[dan.cfg.Self].ownHead = 1 }, 0, true},
		"another life has its name": {func(ann, bob, dan, sam *machine) {
			ann.meets(t0, []*machine{bob, sam}, []*machine{dan})
			view := []Peer{{Actor: clock.Actor{Birth: 9, Rand: 9}, Name: "n3", Alive: true}}
			for _, p := range ann.peers {
				view = append(view, p.Peer)
			}
			ann.SetView(t0, view)
			tell(t, t0, ann, bob, bob.store.Context())
		}, believeAfter, true},
	} {
		t.Run(name, func(t *testing.T) {
			ann, bob, dan := overwritten(t)
			sam := newMachine(clock.Actor{Birth: 1, Rand: 4}, nil)
			c.view(ann, bob, dan, sam)
			now := t0.Add(c.wait)
			tell(t, now, ann, bob, bob.store.Context())
			if got := ann.store.Context().Equal(bob.store.Context()); got != c.want {
				t.Errorf("ann has taken over what bob told: %v, want %v", got, c.want)
			}
		})
	}
}

// A held context is adopted after the actor in question was asked.
func TestWhoIsUpSaysHowMuchItWrote(t *testing.T) {
	ann, bob, dan := overwritten(t)
	now := t0.Add(time.Second)
	tell(t, now, ann, bob, bob.store.Context())
	if ann.Stats().ContextsHeld != 1 {
		t.Fatal("the context is not held")
	}
	exchange(t, &now, time.Second, ann, bob, dan)
	if !ann.store.Context().Equal(bob.store.Context()) || ann.store.Sum() != bob.store.Sum() {
		t.Error("a second later ann and bob do not agree")
	}
}

// Two peers that reach only each other agree in the end, although membership calls other peers up.
func TestThoseWhoDoNotAnswerKeepNobodyApart(t *testing.T) {
	ann, bob, _ := overwritten(t)
	now := t0.Add(time.Second)
	tell(t, now, ann, bob, bob.store.Context())
	exchange(t, &now, silentAfter/2, ann, bob)
	if ann.Stats().ContextsHeld == 0 || ann.store.Context().Equal(bob.store.Context()) {
		t.Fatal("the context is not held while there is hope of an answer")
	}
	exchange(t, &now, 2*time.Minute, ann, bob)
	if !ann.store.Context().Equal(bob.store.Context()) || ann.store.Sum() != bob.store.Sum() {
		t.Error("ann and bob do not agree after two minutes")
	}
}

// Thousands of actors that only one peer has named are all believed after a time, whatever another peer makes
// up meanwhile.
func TestManyStrangersAreAllBelieved(t *testing.T) {
	list := cluster(4)
	ann, bob, eve := list[0], list[1], list[3]
	many := func(birth uint64) *clock.CausalContext {
		c := clock.NewContext()
		for i := range uint64(5000) {
			c.AddRange(clock.Actor{Birth: birth, Rand: i}, 1, 3)
		}
		return c
	}
	for i := range uint64(20) {
		tell(t, t0.Add(time.Second), ann, eve, many(100+i))
	}
	if n := len(ann.byActor[eve.cfg.Self].nonMembers); n != 5000 {
		t.Errorf("%d made-up lives are remembered, want those of the last lie", n)
	}
	for _, p := range ann.peers {
		p.membersHash = ann.membersHash
	}
	tell(t, t0, ann, bob, many(7))
	if ann.store.Context().Len() > 2 {
		t.Fatal("they are believed at once")
	}
	tell(t, t0.Add(membershipLag), ann, bob, many(7))
	if n := ann.store.Context().Len(); n < 5000 || n > 5002 {
		t.Errorf("%d lives are known, want the 5,000 of bob", n)
	}
	if ann.byActor[bob.cfg.Self].nonMembers != nil {
		t.Error("they are still remembered as strangers")
	}
}

// A section with voids and no record that superseded them is refused.
func TestVoidsAloneAreRefused(t *testing.T) {
	list := cluster(3)
	ann, xan, eve := list[0], list[1], list[2]
	for _, n := range []int64{1, 1000, 1 << 40} {
		w := eve.begin()
		w.section(secDeltas, 1)
		w.array(4)
		w.actor(xan.cfg.Self)
		w.uint(1)
		w.uint(0)
		w.array(1)
		w.body = append(w.body, 0xd3, byte(n>>56), byte(n>>48), byte(n>>40), byte(n>>32), byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
		if err := ann.Receive(t0, eve.finish(w, 0, false)); err == nil || ann.store.Context().Span(xan.cfg.Self) != nil {
			t.Errorf("%d voids without a record: %v", n, err)
		}
	}
	if err := ann.Receive(t0, xan.write(t, t0, put(t, "k", 1))[0].Frame); err != nil || !ann.has("k") {
		t.Error("the first write that follows is not taken", err)
	}
}

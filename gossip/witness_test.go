package gossip

import (
	"fmt"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// exchange has machines that are up take what others send them, and tick, for a while.
func exchange(t testing.TB, now *time.Time, d time.Duration, up ...*machine) {
	t.Helper()
	for end := now.Add(d); now.Before(end); *now = now.Add(time.Millisecond) {
		for _, m := range up {
			if due(m.Deadline(), *now) {
				m.Tick(*now)
			}
			for _, sent := range m.Envelopes() {
				for _, to := range up {
					if to.cfg.Self != sent.To {
						continue
					}
					if err := to.Receive(*now, sent.Frame); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
}

// tell has m take the end of a sync with from, in which from has seen all of the context.
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

func seenOf(a clock.Actor, seq uint64) *clock.CausalContext {
	c := clock.NewContext()
	c.AddRange(a, 1, seq)
	return c
}

// meets has the view of m be list, those in down not up, with equal ideas of who counts.
func (m *machine) meets(now time.Time, list, down []*machine) {
	var view []Peer
	for _, o := range list {
		view = append(view, Peer{Actor: o.cfg.Self, Name: fmt.Sprint("n", o.cfg.Self.Rand), Alive: true})
	}
	for _, o := range down {
		view = append(view, Peer{Actor: o.cfg.Self, Name: fmt.Sprint("n", o.cfg.Self.Rand)})
	}
	m.SetView(now, view)
	m.trust()
	for _, p := range m.peers {
		p.membersHash = m.membersHash
	}
}

// asksInVain has m ask others for so long that they count as silent.
func (m *machine) asksInVain(others ...*machine) {
	for _, o := range others {
		for range silentRequests {
			m.sendSyncRequest(t0, m.byActor[o.cfg.Self])
		}
	}
}

func (m *machine) has(key string) bool {
	_, ok := m.store.Render(key, 0)
	return ok
}

// A peer that says it has seen another's writes up to 2^40 makes nobody take the writes that
// follow for seen, neither those it tells nor those they tell.
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
	for i := range 20 { // its heads may come before its writes
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

// overwritten has bob know a write of dan that is gone, by a write of its own that ann gets.
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

// What one peer alone has seen of another's last writes counts as soon as it can take
// nothing from anybody, and not before.
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
		}, 0, true},
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

// A context that is held is taken over when the actor in question is asked.
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

// Two peers agree although they alone see each other, whoever else is said to be up.
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

// Of thousands of lives that only one peer has heard of, each is believed in its time,
// whatever others make up meanwhile.
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

// What is held is not sent again.
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

// Two peers that ask each other in vain do so less and less often, and at once when one
// of them has been away.
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

// Voids come with what superseded them: a section that says of dots only that they are gone
// is refused.
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

package gossip

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// A write that was lost on its way down the tree, and comes by a sync, is passed on: those
// below wait for it as well. What this peer missed while it was away is not.
func TestAFewWritesOfASyncGoDownTheTree(t *testing.T) {
	for writes, passed := range map[int]bool{1: true, maxForwarded: true, maxForwarded + 1: false} {
		list := cluster(12)
		origin := list[0]
		for i := range writes {
			origin.write(t, t0, put(t, fmt.Sprint("k", i), "v"))
		}
		relay := list[slices.IndexFunc(list, func(m *machine) bool { return m != origin && len(m.targetsOf(origin.cfg.Self)) > 0 })]
		w := origin.begin()
		origin.fill(w, secState, origin.cfg.Self, clock.Range{First: 1, Last: uint64(writes)}, 1<<20)
		if err := relay.Receive(t0, origin.finish(w, writes, false)); err != nil {
			t.Fatal(err)
		}
		relay.Tick(t0)
		relay.Flush(t0)
		told := map[clock.Actor]bool{}
		for _, e := range relay.Envelopes() {
			m := list[e.To.Rand-1]
			if err := m.Receive(t0, e.Frame); err != nil {
				t.Fatal(err)
			}
			told[e.To] = m.store.Context().Contains(clock.Dot{Actor: origin.cfg.Self, Seq: uint64(writes)})
		}
		for _, child := range relay.targetsOf(origin.cfg.Self) {
			if told[child.Actor] != passed {
				t.Errorf("of %d writes: %s has them: %t", writes, child.Name, told[child.Actor])
			}
		}
	}
}

// What is on its way down the tree is left to it by a sync, so that it is passed on; what
// was seen two intervals ago is not.
func TestASyncLeavesToTheTreeWhatIsOnItsWay(t *testing.T) {
	list := cluster(12)
	origin, now := list[0], t0.Add(time.Second)
	write := func(n int) {
		for i := range n {
			origin.write(t, now, put(t, fmt.Sprint("k", now.UnixNano(), i), "v"))
		}
	}
	write(3)
	for range 3 {
		now = now.Add(flightInterval)
		origin.Tick(now)
	}
	write(100)
	self := origin.cfg.Self
	both := clock.Both{Mine: origin.store.Context().Span(self), Theirs: &clock.Span{}}
	i := slices.IndexFunc(origin.peers, func(p *peer) bool { return p.Actor != self })
	if got := origin.landed(now, origin.peers[i], self, both); got != 3 {
		t.Errorf("of 103 writes %d are settled, want the 3 of earlier", got)
	}
}

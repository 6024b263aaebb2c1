package gossip

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// Every member gets a write exactly once, through a tree in which each has three children at most.
func TestTheTreeReachesEveryMemberOnce(t *testing.T) {
	for _, n := range []int{9, 10, 50, 200} {
		list := cluster(n)
		byActor := map[clock.Actor]*machine{}
		for _, m := range list {
			byActor[m.cfg.Self] = m
		}
		queue := list[3].write(t, t0, put(t, "k", strings.Repeat("v", 200)))
		frames, widest := 0, len(queue)
		for len(queue) > 0 {
			e := queue[0]
			queue = queue[1:]
			frames++
			m := byActor[e.To]
			if err := m.Receive(t0, e.Frame); err != nil {
				t.Fatal(err)
			}
			m.Flush(t0)
			next := m.Envelopes()
			widest = max(widest, len(next))
			queue = append(queue, next...)
		}
		for i, m := range list {
			if m.store.Len() != 1 {
				t.Fatalf("%d members: %d was not reached", n, i)
			}
		}
		if frames != n-1 {
			t.Errorf("%d members: %d frames, want %d", n, frames, n-1)
		}
		if n > 9 && widest > 3 {
			t.Errorf("%d members: one told %d", n, widest)
		}
	}
}

// A few records that a sync brings were lost on their way down the tree, and are forwarded to the children,
// which lack them too. Many records are what this peer alone missed, and are not forwarded.
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

// A sync leaves out dots in flight down the tree, so that they are forwarded. Dots that were seen two
// intervals ago are not in flight.
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
		t.Errorf("of 103 writes %d are not in flight, want the 3 of earlier", got)
	}
}

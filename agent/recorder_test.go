package agent

import (
	"fmt"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/gossip/transport/memnet"
)

// actors returns the actor that each peer of list writes as.
func actors(list []*Agent) (all []clock.Actor) {
	for _, a := range list {
		all = append(all, a.Actor())
	}
	return all
}

// turnedAway returns how many packets the peers have refused because they had arrived before or were
// sealed for another run.
func turnedAway(list []*Agent) (count uint64) {
	for _, a := range list {
		s := a.Stats().Transport
		count += s.Drops["replayed"] + s.Refused["wrong_seal"]
	}
	return count
}

// A peer that gets its own packets back does not take itself for a copy: it keeps its actor, and every
// write succeeds.
func TestReflectedPacketsMakeNoClone(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		n.Record()
		list := several(t, n, 3, nil)
		before := fmt.Sprint(actors(list))
		for i := range 50 {
			for _, a := range list {
				if err := a.Put(t.Context(), fmt.Sprintf("%s/%d", a.Name(), i), i); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(200 * time.Millisecond)
			for _, p := range n.Recorded() {
				n.Inject(p.To, p.From, p.Packet)
			}
		}
		time.Sleep(5 * time.Second)
		if now := fmt.Sprint(actors(list)); now != before {
			t.Errorf("%s are now %s", before, now)
		}
		if keys := agreed(t, list); keys != 3*50 {
			t.Errorf("%d keys, want %d", keys, 3*50)
		}
		if got, want := turnedAway(list), len(n.Recorded()); got < uint64(want) {
			t.Errorf("%d packets were turned away, of %d that came back", got, want)
		}
	})
}

// The packets of an earlier run, sent again to all peers, bring back neither a member nor an old clock:
// every write succeeds.
func TestAnEarlierRunBringsNothingBack(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		n.Record()
		before := several(t, n, 4, nil)
		for _, a := range before {
			if err := a.Put(t.Context(), "old/"+a.Name(), 1); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(5 * time.Second)
		for _, a := range before {
			crash(a)
		}
		tape := n.Recorded()
		time.Sleep(time.Hour)
		list := several(t, n, 3, nil)
		for i := range 60 {
			for _, p := range tape {
				n.Inject(p.From, p.To, p.Packet)
				n.Inject(p.From, address(i%3), p.Packet)
			}
			time.Sleep(200 * time.Millisecond)
			for _, a := range list {
				if err := a.Put(t.Context(), fmt.Sprintf("%s/%d", a.Name(), i), i); err != nil {
					t.Fatal(err)
				}
			}
		}
		time.Sleep(5 * time.Second)
		for _, a := range list {
			if m := a.Members(); len(m) != 3 {
				t.Errorf("%s has members %+v", a.Name(), m)
			}
		}
		if keys := agreed(t, list); keys != 3*60 {
			t.Errorf("%d keys, want %d", keys, 3*60)
		}
	})
}

// Heartbeats that are sent again keep no worker active: neither a worker that has stopped while its peer
// is up, nor the worker of a peer that is down.
func TestAReplayedHeartbeatKeepsNobodyActive(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		n.Record()
		list, ids := several(t, n, 3, nil), workerIDs(t)
		const ttl = 20 * time.Second
		if err := list[2].Workers().HeartbeatFor(t.Context(), ttl, "w"); err != nil {
			t.Fatal(err)
		}
		active := func(want string) {
			t.Helper()
			for _, a := range list[:2] {
				if got := fmt.Sprint(ids(a.Workers().Active())); got != want {
					t.Errorf("%s says %s are active, want %s", a.Name(), got, want)
				}
			}
		}
		time.Sleep(time.Second)
		active("[n0 n1 n2 w]")
		tape := n.Recorded()
		replay := func(lasts time.Duration) {
			for range lasts / time.Second {
				time.Sleep(time.Second)
				for _, p := range tape {
					n.Inject(p.From, p.To, p.Packet)
				}
			}
		}
		replay(ttl)
		active("[n0 n1 n2]")
		crash(list[2])
		tape = n.Recorded()
		replay(60 * time.Second) // twice the TTL of a peer's own worker
		active("[n0 n1]")
	})
}

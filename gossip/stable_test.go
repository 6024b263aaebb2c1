package gossip

import (
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
)

func TestNothingIsStableWhileAKnownPeerIsAway(t *testing.T) {
	m := cluster(3)[0]
	m.write(t, t0, put(t, "k", 1))
	seen := m.store.Context().Clone()
	m.peers[0].claimed = seen
	m.promote(m.peers[0])
	if len(m.Stable(t0)) != 0 {
		t.Fatal("stable although one peer has acknowledged nothing")
	}
	m.peers[1].claimed = seen.Clone()
	m.promote(m.peers[1])
	if len(m.Stable(t0)) != 0 {
		t.Fatal("stable although nobody was asked yet whom else he knows")
	}
	m.synced = true
	m.peers[0].membersHash, m.peers[1].membersHash = m.membersHash, m.membersHash
	if m.Stable(t0)[m.cfg.Self] != 1 {
		t.Fatalf("not stable although all have it: %v", m.Stable(t0))
	}
	m.peers[0].membersHash++
	if len(m.Stable(t0)) != 0 {
		t.Fatal("stable although one knows of others")
	}
	m.peers[0].Alive = false
	if len(m.Stable(t0)) != 0 {
		t.Fatal("stable although one that is down knew of others")
	}
	m.peers[0].Alive = true
	m.peers[0].membersHash--
	// What a peer has seen and this one has not must arrive first.
	ahead := seen.Clone()
	ahead.AddRange(m.peers[1].Actor, 1, 5)
	m.write(t, t0, put(t, "k2", 1))
	ahead.AddRange(m.cfg.Self, 1, 2)
	for _, p := range m.peers {
		p.claimed = ahead.Clone()
		m.promote(p)
	}
	if m.Stable(t0)[m.cfg.Self] != 1 {
		t.Fatal("stable before this peer has what the others had seen")
	}
}

// A gap that an actor left when it crashed holds up removals while some peer may have the missing dots, and
// no longer.
func TestAHoleOfALifeThatEndedHoldsUpNothingForEver(t *testing.T) {
	m := cluster(3)[0]
	m.synced = true
	life := newMachine(clock.Actor{Birth: 5, Rand: 5}, nil)
	for i, k := range []string{"a", "a", "b", "c", "c"} {
		op := put(t, k, i)
		if i == 1 || i == 4 {
			op = crdt.Op{Verb: crdt.Delete, Key: k}
		}
		if frame := life.write(t, t0, op)[0].Frame; k == "b" {
			continue // this write reaches no peer
		} else if err := m.Receive(t0, frame); err != nil {
			t.Fatal(err)
		}
	}
	stable := func(at time.Duration, want uint64, why string) {
		t.Helper()
		now := t0.Add(at)
		m.Retire(now)
		if got := m.Stable(now)[life.cfg.Self]; got != want {
			t.Errorf("stable up to %d, want %d: %s", got, want, why)
		}
	}
	all := func() {
		for _, p := range m.peers {
			p.acked, p.membersHash = m.store.Context().Clone(), m.membersHash
		}
	}
	all()
	stable(0, 2, "it is asked for")
	clear(m.gaps)
	clear(m.flights)
	stable(0, 2, "it may be under way")
	stable(gapsHoldFor-1, 2, "it may be under way")
	stable(gapsHoldFor, clock.MaxSeq, "nobody has it")
	m.peers[1].acked.AddRange(life.cfg.Self, 3, 3)
	stable(3*gapsHoldFor, 2, "a peer has it")
	all()
	stable(3*gapsHoldFor, 2, "a peer had it a moment ago")
	stable(4*gapsHoldFor, clock.MaxSeq, "nobody has it")
	m.SetView(t0, []Peer{{Actor: life.cfg.Self, Name: "life", Alive: true}, m.peers[0].Peer, m.peers[1].Peer})
	all()
	stable(5*gapsHoldFor, 2, "it is up")
}

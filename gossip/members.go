package gossip

import (
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// Members are the other peers of the cluster, as the last SetView listed them.
type Members struct {
	peers       []*peer // all peers, in the order of their actors
	byActor     map[clock.Actor]*peer
	living      []*peer       // the peers that are up, in the same order
	actors      []clock.Actor // the actors of living, index by index
	membersHash uint64        // hash of the members that count for stability
	views       uint64        // number of calls of SetView
}

// peer is the state kept for one other member. Each machine has its own part of it.
type peer struct {
	Peer
	joined      time.Time // when the peer last came up
	downAt      time.Time // when the peer was first seen down; zero while it is up
	contact     time.Time // when the last frame of the peer came
	view        uint64    // Members.views when the peer was last listed
	reportIndex int       // index of the peer's report in ClusterClock.reports, -1 if it has none yet
	scheduled   bool      // the peer is in shared.scheduled

	path path
	peerPush
	peerRepair
	peerAcks
	peerDigest
	peerSync
	peerContext
	peerAbsence
	peerBeats
}

// setLiving computes living, actors and births from peers.
func (m *Members) setLiving() {
	m.living, m.actors = make([]*peer, 0, len(m.peers)), m.actors[:0]
	for _, p := range m.peers {
		if p.Alive {
			m.living = append(m.living, p)
			m.actors = append(m.actors, p.Actor)
		}
	}
}

// SyncedWith returns the names of the peers with which this one has completed a sync since it
// started: it has everything that each of them had then.
func (m *Members) SyncedWith() (names []string) {
	for _, p := range m.peers {
		if p.syncedOnce {
			names = append(names, p.Name)
		}
	}
	return names
}

// NameOf returns the name of the peer with actor a, "" if there is none.
func (m *Members) NameOf(a clock.Actor) string {
	if p := m.byActor[a]; p != nil {
		return p.Name
	}
	return ""
}

// Living returns the names of the peers that are up.
func (m *Members) Living() []string {
	var names []string
	for _, p := range m.living {
		names = append(names, p.Name)
	}
	return names
}

// setHash computes membersHash: over this peer and all others.
func (m *Members) setHash(self clock.Actor) {
	m.membersHash = mix(self, clock.Actor{})
	for _, p := range m.peers {
		m.membersHash += mix(p.Actor, clock.Actor{})
	}
}

// Births holds, for each name that is up, the birth of its latest actor.
type Births map[string]uint64

// Add notes p if it is up.
func (b Births) Add(p Peer) {
	if p.Alive {
		b[p.Name] = max(b[p.Name], p.Actor.Birth)
	}
}

// Replaced reports whether p is down and a later actor with its name is up. Nothing waits for such
// a peer, and it is forgotten.
func (b Births) Replaced(p Peer) bool {
	latest, up := b[p.Name]
	return up && !p.Alive && latest >= p.Actor.Birth
}

// Blocking returns the names of the peers that are down. They cannot
// acknowledge anything, so nothing new becomes stable, and removals are kept, while they are listed.
func (m *Members) Blocking() []string {
	var names []string
	for _, p := range m.peers {
		if !p.Alive {
			names = append(names, p.Name)
		}
	}
	return names
}

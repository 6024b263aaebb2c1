package gossip

import (
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// Members are the other peers of the cluster, as the last view has them.
type Members struct {
	peers       []*peer // by actor
	byActor     map[clock.Actor]*peer
	living      []*peer           // those of peers that are up
	actors      []clock.Actor     // theirs
	names       map[string]uint64 // of peers that are up, while some are not: their latest birth
	membersHash uint64            // of who counts for stability
	views       uint64            // counts the calls of SetView
}

// peer is what is known of one other member: each protocol keeps a part of its own.
type peer struct {
	Peer
	joined      time.Time // when it last came up
	downAt      time.Time // since when it is seen to be down; zero while it is up
	contact     time.Time // when it was last heard
	view        uint64    // the last view that had it
	reportIndex int       // its place among the reports, -1 before it has one
	scheduled   bool      // it is in the list of those for whom something is due

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

// setLiving takes who of the peers is up, and under which names.
func (m *Members) setLiving() {
	m.living, m.actors = make([]*peer, 0, len(m.peers)), m.actors[:0]
	for _, p := range m.peers {
		if p.Alive {
			m.living = append(m.living, p)
			m.actors = append(m.actors, p.Actor)
		}
	}
	m.names = nil
	if len(m.living) < len(m.peers) {
		m.names = make(map[string]uint64, len(m.living))
		for _, p := range m.living {
			m.names[p.Name] = max(m.names[p.Name], p.Actor.Birth)
		}
	}
}

// SyncedWith returns the names of the peers with whom this one has completed an
// exchange since it started: all that each of them had then it has.
func (m *Members) SyncedWith() (names []string) {
	for _, p := range m.peers {
		if p.syncedOnce {
			names = append(names, p.Name)
		}
	}
	return names
}

// NameOf returns the name of the peer that writes as a, "" if there is none.
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

// setHash takes the hash of who counts for stability, this peer among them.
func (m *Members) setHash(self clock.Actor) {
	m.membersHash = mix(self, clock.Actor{})
	for _, p := range m.peers {
		if !m.replaced(p) {
			m.membersHash += mix(p.Actor, clock.Actor{})
		}
	}
}

// replaced reports whether a dead peer's name is up again as another actor.
func (m *Members) replaced(p *peer) bool {
	if p.Alive {
		return false
	}
	latest, up := m.names[p.Name]
	return up && latest >= p.Actor.Birth
}

// Blocking returns the names of peers that keep removals from being forgotten:
// down, and not forgotten themselves.
func (m *Members) Blocking() []string {
	var names []string
	for _, p := range m.peers {
		if !p.Alive && !m.replaced(p) {
			names = append(names, p.Name)
		}
	}
	return names
}

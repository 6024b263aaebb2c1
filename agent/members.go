package agent

import (
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/gossip"
	"github.com/sentinel-peer/sentinel-peer/gossip/transport"
	"github.com/sentinel-peer/sentinel-peer/internal/replica"
)

// Member is one peer of the cluster as this peer sees it. This peer is one too.
type Member struct {
	Name        string        `json:"name"`
	ID          string        `json:"id"`                 // member id of this run of the peer
	Actor       string        `json:"actor"`              // the actor that it writes as
	Addr        string        `json:"addr"`               // its address for other peers, host:port
	HTTP        string        `json:"http,omitempty"`     // address of its HTTP API
	State       string        `json:"state"`              // alive, dead or left
	Self        bool          `json:"self,omitempty"`     // this is the peer that was asked
	Since       time.Time     `json:"since"`              // start of State
	Contact     time.Time     `json:"contact,omitzero"`   // time of the last frame from it
	Lag         uint64        `json:"lag"`                // number of writes of this peer that it has not acknowledged
	ClockOffset time.Duration `json:"clock_offset"`       // its clock minus this peer's clock, nanoseconds
	AgreedAt    time.Time     `json:"agreed_at,omitzero"` // when its state was last seen to equal this peer's
	Agrees      bool          `json:"agrees,omitempty"`   // this peer's state has not changed since AgreedAt
	Packets     Packets       `json:"packets,omitzero"`   // absent for this peer, and for a peer that is not alive
	Keys        []string      `json:"keys,omitempty"`     // short names of its keys, that of the sealing key first; absent without keys
	Locks       string        `json:"locks"`              // guarantee of its leases: quorum, best-effort or this-peer
	Problems    []string      `json:"problems,omitempty"` // kinds of its problems that this peer has noticed
}

// Packets says whether UDP datagrams pass between this peer and another, in each direction: "pass",
// "blocked", or "unknown" until they were tried. Where they are blocked, TCP carries all frames.
// Nothing is lost then, but a connection more is needed, and lost packets cost more time.
type Packets struct {
	To   string `json:"to"`
	From string `json:"from"`
}

// Blocked reports whether datagrams are blocked in at least one direction.
func (p Packets) Blocked() bool { return p.worst() == gossip.Blocked.String() }

// worst returns the worse word of the two directions: blocked, then unknown, then pass.
func (p Packets) worst() string {
	for _, s := range []gossip.Passage{gossip.Blocked, gossip.UnknownPassage} {
		if p.To == s.String() || p.From == s.String() {
			return s.String()
		}
	}
	return gossip.Passes.String()
}

// roster is the list of members. The lock of the memory guards all of it but names.
type roster struct {
	id        string // member id of this peer, new at each start
	name      string // name of this peer
	log       *slog.Logger
	names     atomic.Pointer[map[clock.Actor]string] // display names of actors, those of earlier runs included
	members   []known                                // sorted by id
	forgotten map[string]bool                        // ids of forgotten members that the transport still lists
}

// onMembers takes a new list of members from the transport.
func (a *Agent) onMembers(list []transport.Member) {
	var events []LifecycleEvent
	var members []known
	a.mem.Do(func(r *replica.Replica, now time.Time) {
		events = a.roster.merge(list)
		a.roster.nameMembers(r.Actor())
		a.roster.dropPast()
		a.viewChanged(r, now)
		members = slices.Clone(a.roster.members)
	})
	a.locks.setMembers(members)
	a.queues.Wake()
	a.mem.Signal()
	for _, e := range events {
		a.bus.emit(e)
	}
}

// merge updates the members from the transport's list, and returns an event for each peer that joined
// or left.
func (r *roster) merge(list []transport.Member) (events []LifecycleEvent) {
	old := make(map[string]known, len(r.members))
	for _, k := range r.members {
		old[k.ID] = k
	}
	forgotten := make(map[string]bool)
	for _, m := range list {
		if r.forgotten[m.ID] && m.State != transport.Alive {
			forgotten[m.ID] = true
			continue
		}
		k, err := readMeta(m)
		if err != nil {
			r.log.Warn("member with unreadable meta is ignored", "addr", m.Addr, "err", err)
			continue
		}
		was, seen := old[m.ID]
		alive := k.State == transport.Alive
		if m.ID != r.id && alive != (seen && was.State == transport.Alive) {
			kind := PeerJoined
			if !alive {
				kind = PeerLeft
			}
			events = append(events, LifecycleEvent{Type: kind, Name: k.name})
			r.log.Info("peer "+map[bool]string{true: "joined", false: "is gone"}[alive], "name", k.name, "addr", k.Addr, "state", k.State)
		}
		if m.Conflict && !was.Conflict {
			r.log.Warn("two peers claim one member id: a clone", "id", k.ID, "name", k.name)
		}
		old[m.ID] = k
	}
	r.forgotten = forgotten
	r.members = slices.SortedFunc(maps.Values(old), func(x, y known) int { return strings.Compare(x.ID, y.ID) })
	return events
}

// viewChanged passes the current members on to the machine, and to send.
func (a *Agent) viewChanged(r *replica.Replica, now time.Time) {
	routes := make(map[clock.Actor]string)
	var peers []gossip.Peer
	for _, k := range a.roster.members {
		if k.ID == a.roster.id || k.State == transport.Left {
			continue // a peer that left on purpose will acknowledge nothing more
		}
		p := k.peer()
		if p.Alive {
			routes[p.Actor] = k.ID
		}
		peers = append(peers, p)
	}
	a.routes.Store(&routes)
	r.SetMembers(now, peers)
}

// Members returns all known peers: this one first, the others sorted by name.
func (a *Agent) Members() []Member {
	status := make(map[clock.Actor]gossip.PeerStatus)
	problems := make(map[string][]string)
	var members []known
	a.mem.Do(func(r *replica.Replica, _ time.Time) {
		for _, p := range r.View().Peers() {
			status[p.Actor] = p
		}
		for _, n := range r.Problems() {
			problems[n.Name] = append(problems[n.Name], n.Problem.String())
		}
		members = slices.Clone(a.roster.members)
	})
	list := make([]Member, 0, len(members))
	for _, k := range members {
		s := status[k.actor]
		m := Member{
			Name: k.name, ID: k.ID, Actor: k.actor.String(), Addr: k.Addr, HTTP: k.http,
			State: k.State.String(), Self: k.ID == a.roster.id, Since: k.Since.UTC(), Contact: s.Contact.UTC(),
			Lag: s.Lag, ClockOffset: s.ClockOffset, AgreedAt: s.AgreedAt.UTC(), Agrees: s.Agrees,
			Keys: k.keys, Locks: k.locks.String(),
		}
		if k.State == transport.Alive {
			m.Problems = slices.Clone(problems[k.name])
			if !m.Self {
				m.Packets = Packets{s.PacketsTo.String(), s.PacketsFrom.String()}
			}
		}
		if k.Conflict {
			m.Problems = append(m.Problems, "clone")
		}
		list = append(list, m)
	}
	slices.SortFunc(list, func(x, y Member) int {
		switch {
		case x.Self != y.Self && x.Self:
			return -1
		case x.Self != y.Self:
			return 1
		}
		return strings.Compare(x.Name+"\x00"+x.ID, y.Name+"\x00"+y.ID)
	})
	return list
}

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

// Member is one peer of the cluster, this one included.
type Member struct {
	Name        string        `json:"name"`
	ID          string        `json:"id"`    // of this run of the peer
	Actor       string        `json:"actor"` // whom it writes as
	Addr        string        `json:"addr"`  // for peers
	HTTP        string        `json:"http,omitempty"`
	State       string        `json:"state"` // alive, dead or left
	Self        bool          `json:"self,omitempty"`
	Since       time.Time     `json:"since"`              // when State began
	Contact     time.Time     `json:"contact,omitzero"`   // when it was last heard of
	Lag         uint64        `json:"lag"`                // writes of this peer it has not acknowledged
	ClockOffset time.Duration `json:"clock_offset"`       // of its clock to this peer's, nanoseconds
	AgreedAt    time.Time     `json:"agreed_at,omitzero"` // when its state was last seen to equal this peer's
	Agrees      bool          `json:"agrees,omitempty"`   // and this peer still holds that state
	Packets     Packets       `json:"packets,omitzero"`   // absent for this peer, and one that is not alive
	Keys        []string      `json:"keys,omitempty"`     // the short names of its keys, the one that seals first; absent without keys
	Locks       string        `json:"locks"`              // what a lease by it is worth: quorum, best-effort or this-peer
	Problems    []string      `json:"problems,omitempty"`
}

// Packets says whether UDP passes between this peer and another, each way: "unknown"
// until that was tried, "pass" or "blocked". Where it is blocked TCP carries everything:
// nothing is lost, but it costs a connection, and is slower where packets are lost.
type Packets struct {
	To   string `json:"to"`
	From string `json:"from"`
}

// Blocked reports whether packets do not pass one way or both.
func (p Packets) Blocked() bool { return p.state() == gossip.Blocked.String() }

// state is one word for both ways.
func (p Packets) state() string {
	for _, s := range []gossip.Passage{gossip.Blocked, gossip.UnknownPassage} {
		if p.To == s.String() || p.From == s.String() {
			return s.String()
		}
	}
	return gossip.Passes.String()
}

// roster is who the members are. The lock of the memory guards it, but for names.
type roster struct {
	id        string // the member id of this peer, new at each start
	name      string // this peer's
	log       *slog.Logger
	names     atomic.Pointer[map[clock.Actor]string] // display names, of past lives too
	members   []known
	forgotten map[string]bool // ids that were given up, while the transport lists them
}

// onMembers takes the transport's list.
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

// merge takes the transport's list into the members, and returns who came and went.
func (r *roster) merge(list []transport.Member) (events []LifecycleEvent) {
	old := make(map[string]known, len(r.members))
	for _, k := range r.members {
		old[k.ID] = k
	}
	forgotten := make(map[string]bool)
	for _, m := range list {
		if r.forgotten[m.ID] && m.State != transport.Alive {
			forgotten[m.ID] = true // the transport still lists it
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

// viewChanged gives the replica and the senders the members as they are now.
func (a *Agent) viewChanged(r *replica.Replica, now time.Time) {
	routes := make(map[clock.Actor]string)
	var peers []gossip.Peer
	for _, k := range a.roster.members {
		if k.ID == a.roster.id || k.State == transport.Left {
			continue // who left on purpose needs nothing any more
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

// Members returns all known peers, this one first, then by name.
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

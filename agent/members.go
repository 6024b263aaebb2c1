package agent

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/gossip"
	"github.com/sentinel-peer/sentinel-peer/gossip/transport"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
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
	Since       time.Time     `json:"since"`            // when State began
	Contact     time.Time     `json:"contact,omitzero"` // when it was last heard of
	Lag         uint64        `json:"lag"`              // writes of this peer it has not acknowledged
	ClockOffset time.Duration `json:"clock_offset"`     // of its clock to this peer's, nanoseconds
	Problems    []string      `json:"problems,omitempty"`
}

// known is a member as last heard of. A dead one is kept until it is forgotten,
// for what it has not seen may not be forgotten before.
type known struct {
	transport.Member
	actor clock.Actor
	name  string
	http  string
	rules uint64
}

const metaVersion = 1

// meta is what the others learn about this peer: [version, actor, name, HTTP
// address, fingerprint of the rules].
func (a *Agent) meta() []byte {
	b := wire.AppendArray(nil, 5)
	b = wire.AppendUint(b, metaVersion)
	b = clock.AppendActor(b, a.replica.Actor())
	b = wire.AppendStr(b, a.cfg.Name)
	b = wire.AppendStr(b, a.cfg.HTTP)
	return wire.AppendUint(b, a.rules.Fingerprint())
}

func (a *Agent) metaLocked() []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.meta()
}

func readMeta(m transport.Member) (known, error) {
	k := known{Member: m}
	if _, err := wire.Check(m.Meta, wire.Limits{Depth: 1, Nodes: 32}); err != nil {
		return k, err
	}
	r := wire.NewReader(m.Meta)
	n := r.ArrayLen()
	version := r.Uint()
	k.actor, k.name, k.http, k.rules = clock.ReadActor(&r), string(r.Str()), string(r.Str()), r.Uint()
	if r.Err() == nil && (n < 5 || version == 0) {
		r.Fail("meta")
	}
	return k, r.Err()
}

// onMembers takes the transport's list.
func (a *Agent) onMembers(list []transport.Member) {
	a.mu.Lock()
	old := make(map[string]known, len(a.members))
	for _, k := range a.members {
		old[k.ID] = k
	}
	var events []LifecycleEvent
	for _, m := range list {
		k, err := readMeta(m)
		if err != nil {
			a.log.Warn("member with unreadable meta is ignored", "addr", m.Addr, "err", err)
			continue
		}
		was, seen := old[m.ID]
		alive := k.State == transport.Alive
		if m.ID != a.id && alive != (seen && was.State == transport.Alive) {
			kind := PeerJoined
			if !alive {
				kind = PeerLeft
			}
			events = append(events, LifecycleEvent{Type: kind, Name: k.name})
			a.log.Info("peer "+map[bool]string{true: "joined", false: "is gone"}[alive], "name", k.name, "addr", k.Addr, "state", k.State)
		}
		if m.Conflict && !was.Conflict {
			a.log.Warn("two peers claim one member id: a clone", "id", k.ID, "name", k.name)
		}
		old[m.ID] = k
	}
	a.members = slices.SortedFunc(maps.Values(old), func(x, y known) int { return strings.Compare(x.ID, y.ID) })
	a.members = slices.DeleteFunc(a.members, func(k known) bool {
		return k.State == transport.Left && time.Since(k.Since) > 10*time.Minute
	})
	a.viewChanged()
	a.mu.Unlock()
	a.signal()
	for _, e := range events {
		a.emit(e)
	}
}

// viewChanged gives the replica and the senders the members as they are now.
func (a *Agent) viewChanged() {
	routes := make(map[clock.Actor]string)
	names := maps.Clone(*a.names.Load())
	var peers []gossip.Peer
	for _, k := range a.members {
		names[k.actor] = k.name
		if k.ID == a.id || k.State == transport.Left {
			continue // who left on purpose needs nothing any more
		}
		alive := k.State == transport.Alive
		if alive {
			routes[k.actor] = k.ID
		}
		peers = append(peers, gossip.Peer{Actor: k.actor, Name: k.name, Alive: alive})
	}
	a.routes.Store(&routes)
	a.names.Store(&names)
	a.replica.SetMembers(time.Now(), peers)
}

// renameSelf notes a new actor of this peer.
func (a *Agent) renameSelf() {
	names := maps.Clone(*a.names.Load())
	names[a.replica.Actor()] = a.cfg.Name
	a.names.Store(&names)
}

// WriterName returns the display name of an actor, or the actor if it is unknown.
func (a *Agent) WriterName(actor clock.Actor) string {
	if name, ok := (*a.names.Load())[actor]; ok {
		return name
	}
	return actor.String()
}

// Members returns all known peers, this one first, then by name.
func (a *Agent) Members() []Member {
	a.mu.Lock()
	defer a.mu.Unlock()
	status := make(map[clock.Actor]gossip.PeerStatus)
	for _, p := range a.replica.Engine().Peers() {
		status[p.Actor] = p
	}
	problems := make(map[string][]string)
	for _, n := range a.replica.Problems() {
		problems[n.Name] = append(problems[n.Name], n.Problem.String())
	}
	list := make([]Member, 0, len(a.members))
	for _, k := range a.members {
		s := status[k.actor]
		m := Member{
			Name: k.name, ID: k.ID, Actor: k.actor.String(), Addr: k.Addr, HTTP: k.http,
			State: k.State.String(), Self: k.ID == a.id, Since: k.Since, Contact: s.Contact,
			Lag: s.Lag, ClockOffset: s.ClockOffset,
		}
		if k.State == transport.Alive {
			m.Problems = slices.Clone(problems[k.name])
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

// Ready reports whether this peer has synced with one other since it started, or
// was given nobody to sync with; never after Close.
func (a *Agent) Ready() bool {
	if a.isClosed() {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.replica.Engine().Synced() || len(a.cfg.Seeds) == 0 && len(a.replica.Engine().Living()) == 0
}

// WaitReady waits until Ready.
func (a *Agent) WaitReady(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !a.Ready() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("not synced with any peer yet: %w", ctx.Err())
		case <-a.closing:
			return ErrClosed
		case <-tick.C:
		}
	}
	return nil
}

// Forget gives up on peers of this name that are down. What waits for them to
// acknowledge it may then be collected. Should one come back, its state is merged
// as any other.
func (a *Agent) Forget(name string) error {
	if a.isClosed() {
		return ErrClosed
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	before := len(a.members)
	a.members = slices.DeleteFunc(a.members, func(k known) bool {
		return k.name == name && k.State != transport.Alive && k.ID != a.id
	})
	if len(a.members) == before {
		return fmt.Errorf("forget %q: %w among the peers that are down", name, ErrNotFound)
	}
	a.viewChanged()
	return nil
}

// Cut makes this peer deaf and mute towards peers, by name or gossip address: for
// development, and only with Config.Faults.
func (a *Agent) Cut(peers ...string) error {
	if a.isClosed() {
		return ErrClosed
	}
	if !a.cfg.Faults {
		return ErrFaultsDisabled
	}
	var addrs []string
	for _, p := range peers {
		addr := p
		for _, m := range a.Members() {
			if m.Name == p {
				addr = m.Addr
			}
		}
		if !strings.Contains(addr, ":") {
			return fmt.Errorf("cut %q: %w among the members", p, ErrNotFound)
		}
		addrs = append(addrs, addr)
	}
	return a.net.Cut(addrs...)
}

// Heal ends every Cut.
func (a *Agent) Heal() error {
	if a.isClosed() {
		return ErrClosed
	}
	if !a.cfg.Faults {
		return ErrFaultsDisabled
	}
	a.net.Heal()
	return nil
}

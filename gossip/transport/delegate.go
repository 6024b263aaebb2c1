package transport

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// State is the state of a member as this peer sees it.
type State uint8

// The states of a member.
const (
	Alive State = iota + 1 // the member answers probes, or is only suspected not to
	Dead                   // the member stopped answering; it may come back
	Left                   // the member left on purpose; its id does not come back
)

func (s State) String() string {
	switch s {
	case Alive:
		return "alive"
	case Dead:
		return "dead"
	case Left:
		return "left"
	}
	return "unknown"
}

// Member is one peer of the cluster; this peer is one as well.
type Member struct {
	ID, Addr string // Addr is the gossip address, host:port
	Meta     []byte // shared by all copies of a Member; must not be changed
	State    State
	Since    time.Time // when State began, on this peer's clock
	Conflict bool      // within the last minute another address claimed this id: one of the two is a clone
}

// Members that are gone stay listed for a while, so that a reader sees why one is missing. They
// are forgotten later, since every start makes a new id.
const (
	forgetGone     = 10 * time.Minute // how long a member that is gone stays listed
	maxGone        = 1024             // greatest number of members that are gone and listed
	forgetConflict = time.Minute      // how long Member.Conflict lasts
)

// roster is the list of members, kept from memberlist's events. memberlist calls its methods with
// its own lock held, so they must not call memberlist.
type roster struct {
	self    string
	changed chan struct{} // capacity 1; a full one has tell look again

	seen func(Member)          // called when a member is alive
	lost func(id, addr string) // called when a member died or left
	left func(addr string)     // called after lost when the member left on purpose
	over func(id string)       // called when a member is no longer listed

	mu       sync.RWMutex // guards the fields below
	members  map[string]Member
	holder   map[string]string    // by address: id of the member to which it belongs, see settle
	hosts    map[netip.Addr]int   // by IP address: number of its ports that belong to a member
	byes     map[string]time.Time // by id: when the member said that it leaves for good
	conflict map[string]time.Time // by id: when another address claimed it last
}

func newRoster(self string) *roster {
	return &roster{
		self:     self,
		changed:  make(chan struct{}, 1),
		members:  make(map[string]Member),
		holder:   make(map[string]string),
		hosts:    make(map[netip.Addr]int),
		byes:     make(map[string]time.Time),
		conflict: make(map[string]time.Time),
	}
}

func (r *roster) touch() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// alive returns the address of the member id; ok is false unless it is alive and another than this peer.
func (r *roster) alive(id string) (addr string, ok bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	m, ok := r.members[id]
	return m.Addr, ok && m.State == Alive && r.holder[m.Addr] == id && id != r.self
}

// at returns the id of the member to which an address belongs, "" if there is none.
func (r *roster) at(addr string) string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.holder[addr]
}

// lives reports whether a living member has this IP address, on any port.
func (r *roster) lives(ip netip.Addr) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.hosts[ip] > 0
}

// settle decides to which member an address belongs. A peer that restarts at once is up again
// while memberlist still takes its earlier life for alive, and would send frames for that
// one to the new life. So each address belongs to one member: this peer if it is its own,
// and else the living member with the greatest id, which is the latest life.
func (r *roster) settle(addr string) {
	holder := ""
	for id, m := range r.members {
		if m.Addr == addr && m.State == Alive && holder != r.self && (id == r.self || id > holder) {
			holder = id
		}
	}
	ap, _ := netip.ParseAddrPort(addr)
	host := ap.Addr()
	_, had := r.holder[addr]
	switch {
	case holder != "":
		r.holder[addr] = holder
		if !had {
			r.hosts[host]++
		}
	case had:
		delete(r.holder, addr)
		if r.hosts[host]--; r.hosts[host] == 0 {
			delete(r.hosts, host)
		}
	}
}

func (r *roster) list() []Member {
	r.mu.RLock()
	all := make([]Member, 0, len(r.members))
	for id, m := range r.members {
		if m.State == Alive && r.holder[m.Addr] != id {
			m.State = Dead
		}
		all = append(all, m)
	}
	r.mu.RUnlock()
	slices.SortFunc(all, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

func (r *roster) NotifyJoin(n *memberlist.Node)   { r.up(n, time.Now()) }
func (r *roster) NotifyUpdate(n *memberlist.Node) { r.up(n, time.Now()) }

func (r *roster) up(n *memberlist.Node, now time.Time) {
	m := Member{ID: n.Name, Addr: addrOf(n), Meta: slices.Clone(n.Meta), State: Alive, Since: now}
	r.mu.Lock()
	old := r.members[m.ID]
	if old.State == Alive {
		m.Since, m.Conflict = old.Since, old.Conflict
	}
	r.members[m.ID] = m
	r.settle(m.Addr)
	if old.Addr != m.Addr {
		r.settle(old.Addr)
	}
	lives := r.holder[m.Addr] == m.ID
	r.mu.Unlock()
	if m.ID != r.self && lives {
		r.seen(m)
	}
	r.touch()
}

func (r *roster) NotifyLeave(n *memberlist.Node) {
	r.mu.Lock()
	m := r.members[n.Name]
	m.ID, m.Addr, m.State, m.Since = n.Name, addrOf(n), Dead, time.Now()
	_, bye := r.byes[m.ID]
	if bye || m.ID == r.self {
		m.State = Left
	}
	r.members[m.ID] = m
	r.settle(m.Addr)
	r.mu.Unlock()
	if m.ID == r.self {
		return
	}
	r.lost(m.ID, m.Addr)
	if m.State == Left {
		r.left(m.Addr)
	}
	r.touch()
}

// bye notes that a member leaves on purpose. memberlist does not tell its delegate whether a member
// left or died, and its event may come before or after this call.
func (r *roster) bye(id string, now time.Time) {
	r.mu.Lock()
	m := r.members[id]
	if id != r.self && len(r.byes) < maxGone {
		r.byes[id] = now
	}
	died := m.State == Dead && id != r.self
	if died {
		m.State = Left
		r.members[id] = m
	}
	r.mu.Unlock()
	if died {
		r.left(m.Addr)
		r.touch()
	}
}

var errEnded = errors.New("this peer has announced that it leaves")

// NotifyAlive refuses members that have left: messages which say that they are alive may still be
// on their way, or come from a peer that has not heard of their end.
func (r *roster) NotifyAlive(n *memberlist.Node) error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if _, bye := r.byes[n.Name]; bye {
		return errEnded
	}
	return nil
}

func (r *roster) NotifyConflict(existing, other *memberlist.Node) {
	r.mu.Lock()
	if m, ok := r.members[existing.Name]; ok {
		m.Conflict = true
		r.members[m.ID] = m
		r.conflict[m.ID] = time.Now()
	}
	r.mu.Unlock()
	r.touch()
}

// tidy forgets members, goodbyes and conflicts that are older than their limits.
func (r *roster) tidy(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var gone []Member
	for id, m := range r.members {
		if m.State == Alive {
			continue
		}
		if now.Sub(m.Since) > forgetGone {
			delete(r.members, id)
			r.over(id)
			r.touch()
		} else {
			gone = append(gone, m)
		}
	}
	if over := len(gone) - maxGone; over > 0 {
		slices.SortFunc(gone, func(a, b Member) int { return a.Since.Compare(b.Since) })
		for _, m := range gone[:over] {
			delete(r.members, m.ID)
			r.over(m.ID)
		}
		r.touch()
	}
	for id, at := range r.byes {
		if now.Sub(at) > forgetGone {
			delete(r.byes, id)
		}
	}
	for id, at := range r.conflict {
		if now.Sub(at) > forgetConflict {
			delete(r.conflict, id)
			if m, ok := r.members[id]; ok {
				m.Conflict = false
				r.members[id] = m
				r.touch()
			}
		}
	}
}

func addrOf(n *memberlist.Node) string {
	ip, _ := netip.AddrFromSlice(n.Addr)
	return netip.AddrPortFrom(ip.Unmap(), n.Port).String()
}

// delegate is what memberlist asks and tells beyond membership: almost nothing.
type delegate struct{ m *Memberlist }

func (d delegate) NodeMeta(int) []byte { return *d.m.meta.Load() }

// NotifyMsg drops what only another program can have sent.
func (d delegate) NotifyMsg([]byte) { d.m.stats.count(dropKind, 1) }

// GetBroadcasts returns nothing: the broadcast queue saturates at some twenty
// messages a second for the whole cluster.
func (delegate) GetBroadcasts(_, _ int) [][]byte { return nil }

// LocalState returns nothing: state in the exchange of member lists makes joining
// fail once it is large.
func (delegate) LocalState(bool) []byte        { return nil }
func (delegate) MergeRemoteState([]byte, bool) {}

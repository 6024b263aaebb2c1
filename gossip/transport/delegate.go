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

// State is what we believe of a member.
type State uint8

const (
	Alive State = iota + 1 // answers probes, or is only suspected not to
	Dead                   // stopped answering; may come back
	Left                   // said so, and went
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

// Member is one peer, ourselves included.
type Member struct {
	ID, Addr string // Addr is the gossip address, host:port
	Meta     []byte // shared by all copies; do not change it
	State    State
	Since    time.Time // when State began, by our clock
	Conflict bool      // lately another address claimed this id too: one of the two is a clone
}

// Members that are gone stay listed for a while, so that a reader sees why one
// is missing, but not for ever: ids are new at each start.
const (
	forgetGone     = 10 * time.Minute
	maxGone        = 1024
	forgetConflict = time.Minute
)

// roster is the list of members, kept from memberlist's events. Its methods are
// called under memberlist's own lock and must not call back into it.
type roster struct {
	self    string
	changed chan struct{} // capacity 1: a full one already says "look again"

	seen func(Member)          // a member is alive
	lost func(id, addr string) // a member died or left
	left func(addr string)     // and it was on purpose
	over func(id string)       // it is listed no more

	mu       sync.RWMutex // guards what follows
	members  map[string]Member
	holder   map[string]string    // whose each address is: see settle
	hosts    map[netip.Addr]int   // how many ports of each are somebody's
	byes     map[string]time.Time // ids that said goodbye, which is for good
	conflict map[string]time.Time // last time another address claimed the id
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

// alive returns the address of another living member.
func (r *roster) alive(id string) (addr string, ok bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	m, ok := r.members[id]
	return m.Addr, ok && m.State == Alive && r.holder[m.Addr] == id && id != r.self
}

// at returns the id of the member that lives at an address, empty if none does.
func (r *roster) at(addr string) string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.holder[addr]
}

// lives reports whether a member does at an address, on any port.
func (r *roster) lives(ip netip.Addr) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.hosts[ip] > 0
}

// settle decides whose an address is. Who restarts at once is there again while
// memberlist still takes the life before for alive, and would send it what now comes
// to the new one: at one address only this process, or else the greatest id, lives.
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

// bye notes a goodbye. memberlist tells its own members who left from who died,
// but not us; and its word may come before or after this one.
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

var errEnded = errors.New("this life said goodbye")

// NotifyAlive refuses who has said goodbye: word of its life that is still under way, or
// told by who has not heard of its end, is no ghost of it.
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

// tidy forgets what is long past.
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

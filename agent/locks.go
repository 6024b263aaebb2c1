package agent

import (
	"cmp"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sentinel-peer/sentinel-peer/gossip/transport"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// LockConfig says which peers certify leases. With its zero value a peer is the only voter for its
// own leases: they exclude other callers at this peer, and no caller at another peer.
type LockConfig struct {
	// Voters are the names of one to seven peers, the same list at every peer. A lease needs a
	// majority of them: three voters survive the loss of one, five the loss of two.
	Voters []string
	// Epoch is the number of the list of voters, 1 if zero. It rises with each change of the list.
	Epoch uint64

	// FirstBoot asserts that no earlier run of this voter can have certified a lease that is still
	// in force. Otherwise the voter certifies nothing for its first 15 to 18 seconds.
	FirstBoot bool
	// StateDir is a directory in which the peer keeps a bound of the tokens it has given. With it
	// tokens rise across restarts even if the wall clock is set back. There is none if it is empty.
	StateDir string
	// MaxTTL is the longest TTL of a lease, the same at every peer: 15 s if zero.
	MaxTTL time.Duration

	// BestEffort makes the first three peers that are up voters. Both sides of a network partition
	// can then grant the same lock. It is for work that is merely wasted when it is done twice.
	BestEffort bool
}

// alone reports whether this peer is the only voter for its own leases.
func (c LockConfig) alone() bool { return len(c.Voters) == 0 && !c.BestEffort }

// longest returns the longest TTL of a lease.
func (c LockConfig) longest() time.Duration { return cmp.Or(c.MaxTTL, 15*time.Second) }

// voters returns the voters of the peer named self.
func (c LockConfig) voters(self string) lockservice.Voters {
	v := lockservice.Voters{Epoch: c.Epoch, Names: c.Voters, BestEffort: c.BestEffort}
	if c.alone() {
		v.Names = []string{self}
	}
	return v
}

// firstBoot reports whether no lease that an earlier run certified can be in force. The leases of a
// peer that is alone end with its process. If its state directory shows an earlier run, bearers of
// leases may have outlived that process, and firstBoot returns false.
func (c LockConfig) firstBoot() bool {
	if !c.alone() || c.StateDir == "" {
		return c.FirstBoot || c.alone()
	}
	_, err := os.Stat(filepath.Join(c.StateDir, lockservice.StateFile))
	return c.FirstBoot || errors.Is(err, fs.ErrNotExist)
}

// locks connects the lock service of a peer with the transport.
type locks struct {
	session   *lockservice.Session
	announced lockservice.Guarantee                // guarantee in the metadata of this peer; only the loop uses it
	net       atomic.Pointer[transport.Memberlist] // nil until the transport is open
	ids       atomic.Pointer[map[string]string]    // member ids of the peers that are up, by name
	names     atomic.Pointer[map[string]string]    // names of the peers that are up, by member id
}

// open starts the lock service of a peer. The voter here calls barred to learn which locks of items it
// must not certify. emit is called for each lease that is lost or has lapsed.
func (l *locks) open(of Config, log *slog.Logger, barred func(lock string, token uint64) bool, emit func(LifecycleEvent)) error {
	c := of.Locks
	l.ids.Store(new(map[string]string))
	l.names.Store(new(map[string]string))
	cfg := lockservice.SessionConfig{
		Node:  lockservice.Config{Self: of.Name, Voters: c.voters(of.Name), MaxTTL: c.MaxTTL, FirstBoot: c.firstBoot(), Barred: barred},
		Alone: c.alone(), Send: l.send, StateDir: c.StateDir, Logger: log,
		Lost: func(e *lockservice.LostError) {
			event := LockLost
			switch {
			case errors.Is(e, lockservice.ErrLapsed):
				event = LockLapsed
				log.Info("lease over at this peer", "lock", e.Lock, "token", e.Token, "err", e.Cause)
			case !errors.Is(e, lockservice.ErrClosed):
				log.Warn("lease lost", "lock", e.Lock, "token", e.Token, "err", e.Cause)
			}
			emit(LifecycleEvent{Type: event, Name: e.Lock})
		},
	}
	if of.Network != nil { // only a test sets it, and may run in virtual time
		began := time.Now()
		cfg.Clock = func() time.Duration { return time.Since(began) }
	}
	var err error
	if l.session, err = lockservice.Open(cfg); err != nil {
		return err
	}
	l.announced = l.session.Guarantee()
	switch {
	case c.alone():
		log.Info("locks exclude the callers of this peer only; name voters to share them with the cluster")
	case c.BestEffort:
		log.Info("locks are best effort: two sides of a cut can hold one lock")
	case slices.Contains(c.Voters, of.Name) && !c.FirstBoot:
		log.Info("this voter certifies no lease until those that it certified before its start are over", "voters", c.Voters)
	}
	return nil
}

// Locks returns the lock service, which grants leases with fencing tokens: see package lockservice.
// Close closes it.
func (a *Agent) Locks() *lockservice.Session { return a.locks.session }

// alive reports whether a peer of this name is up.
func (l *locks) alive(name string) bool { return (*l.ids.Load())[name] != "" }

// send queues a packet for the peer of a name. It drops the packet if the peer is not up or its queue
// is full: the lock service repeats its requests.
func (l *locks) send(peer string, packet []byte) {
	if net, id := l.net.Load(), (*l.ids.Load())[peer]; net != nil && id != "" {
		_ = net.SendLock(id, packet)
	}
}

// receive takes packets of the member with the id from. The transport calls it and must not wait: the
// lock service decides in memory and queues its answers.
func (l *locks) receive(from string, packets [][]byte) {
	if name := (*l.names.Load())[from]; name != "" {
		l.session.Receive(name, packets...)
	}
}

// setMembers tells the lock service which peers are up. If two members claim one name, the one that
// had it first keeps it. Packets of the other are ignored until the first is gone, so that it has
// neither the votes nor the leases of that name.
func (l *locks) setMembers(list []known) {
	claims := make([]lockservice.Claim, 0, len(list)) // in the order of ids, which rise with the time of the start
	for _, k := range list {
		if k.State == transport.Alive {
			claims = append(claims, lockservice.Claim{ID: k.ID, Name: k.name})
		}
	}
	ids := lockservice.Claimed(*l.ids.Load(), claims)
	names := make(map[string]string, len(ids))
	for name, id := range ids {
		names[id] = name
	}
	l.ids.Store(&ids)
	l.names.Store(&names)
	l.session.SetLive(slices.Sorted(maps.Keys(ids)))
}

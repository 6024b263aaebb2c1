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

// LockConfig says who certifies leases. A peer of which nothing is said is the only
// voter for its own leases: they exclude the callers of this peer, nobody else's.
type LockConfig struct {
	// Voters are the names of one to seven peers, the same list at every peer. A
	// lease needs a majority of them: three survive the loss of one, five of two.
	Voters []string
	Epoch  uint64 // counts the changes of the list; 1 if zero

	// FirstBoot asserts that no earlier life of this voter can have certified a
	// lease that still runs. Else it is silent for the first 15 to 18 seconds.
	FirstBoot bool
	StateDir  string        // keeps a bound of the tokens given, so that they rise across restarts whatever the clock says
	MaxTTL    time.Duration // of leases, the same at every peer: 15 s

	// BestEffort takes the first three peers that are up as voters: two sides of a
	// cut then both grant a lock. For work that is merely wasted when done twice.
	BestEffort bool
}

// alone reports whether nothing is said of voters.
func (c LockConfig) alone() bool { return len(c.Voters) == 0 && !c.BestEffort }

// longest is how long a lease may last.
func (c LockConfig) longest() time.Duration { return cmp.Or(c.MaxTTL, 15*time.Second) }

func (c LockConfig) voters(self string) lockservice.Voters {
	v := lockservice.Voters{Epoch: c.Epoch, Names: c.Voters, BestEffort: c.BestEffort}
	if c.alone() {
		v.Names = []string{self}
	}
	return v
}

// firstBoot reports whether nothing that an earlier life certified can be in force.
// Who is alone with its leases has taken them along, unless a state says that it has
// been here before, for clients that may have outlived it.
func (c LockConfig) firstBoot() bool {
	if !c.alone() || c.StateDir == "" {
		return c.FirstBoot || c.alone()
	}
	_, err := os.Stat(filepath.Join(c.StateDir, lockservice.StateFile))
	return c.FirstBoot || errors.Is(err, fs.ErrNotExist)
}

// locks is the lock service of a peer and the way to its fellows.
type locks struct {
	session *lockservice.Session
	told    lockservice.Guarantee                // what the others know; the loop's
	net     atomic.Pointer[transport.Memberlist] // nil before it is open
	ids     atomic.Pointer[map[string]string]    // member ids of those that are up, by name
	names   atomic.Pointer[map[string]string]    // and the other way round
}

// open starts the lock service of a peer. barred says which items of queues no voter
// certifies, and emit hears of leases that were lost or lapsed.
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
	if of.Network != nil { // of a test, in virtual time
		began := time.Now()
		cfg.Clock = func() time.Duration { return time.Since(began) }
	}
	var err error
	if l.session, err = lockservice.Open(cfg); err != nil {
		return err
	}
	l.told = l.session.Guarantee()
	switch {
	case c.alone():
		log.Info("locks exclude the callers of this peer only; name voters to share them with the cluster")
	case c.BestEffort:
		log.Info("locks are best effort: two sides of a cut can hold one lock")
	case slices.Contains(c.Voters, of.Name) && !c.FirstBoot:
		log.Info("this voter certifies no lease until those of its earlier life are over", "voters", c.Voters)
	}
	return nil
}

// Locks returns the lock service: leases with fencing tokens, see package
// lockservice. It ends with the agent.
func (a *Agent) Locks() *lockservice.Session { return a.locks.session }

// alive reports whether a peer of that name is up.
func (l *locks) alive(name string) bool { return (*l.ids.Load())[name] != "" }

// send queues a packet for a peer; whom it cannot reach the service asks again.
func (l *locks) send(peer string, packet []byte) {
	if net, id := l.net.Load(), (*l.ids.Load())[peer]; net != nil && id != "" {
		_ = net.SendLock(id, packet)
	}
}

// receive is called by the transport, which must not wait: the service decides in
// memory and queues its answers.
func (l *locks) receive(from string, packets [][]byte) {
	if name := (*l.names.Load())[from]; name != "" {
		l.session.Receive(name, packets...)
	}
}

// setMembers takes who is up. Who claims the name of a peer that is up has neither its
// votes nor its leases: messages from it count for nobody, until the first is gone.
func (l *locks) setMembers(list []known) {
	claims := make([]lockservice.Claim, 0, len(list)) // by id, which rises with the time of birth
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

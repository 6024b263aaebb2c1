package transport

import (
	"errors"
	"sync"
)

var errCut = errors.New("cut by fault injection")

// cuts is the set of gossip addresses that this peer pretends not to reach. A nil cuts is empty.
type cuts struct {
	mu    sync.RWMutex // guards addrs
	addrs map[string]struct{}
}

func (c *cuts) has(addr string) bool {
	if c == nil || addr == "" {
		return false
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	_, ok := c.addrs[addr]
	return ok
}

// Cut breaks the network between this peer and the given gossip addresses (Member.Addr): it drops
// every packet, and closes and refuses every stream, in both directions. It adds to earlier
// cuts. Without Config.Faults it fails with ErrFaultsOff. The other peers need Config.Faults
// as well, with which a connection names the gossip address of its dialler: TCP alone does
// not tell.
func (m *Memberlist) Cut(addrs ...string) error {
	c := m.mux.cuts
	if c == nil {
		return ErrFaultsOff
	}
	c.mu.Lock()
	for _, a := range addrs {
		c.addrs[a] = struct{}{}
	}
	c.mu.Unlock()
	m.mux.hangUp(c.has)
	return nil
}

// Heal ends every Cut.
func (m *Memberlist) Heal() {
	if c := m.mux.cuts; c != nil {
		c.mu.Lock()
		clear(c.addrs)
		c.mu.Unlock()
	}
}

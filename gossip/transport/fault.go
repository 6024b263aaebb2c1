package transport

import (
	"errors"
	"sync"
)

var errCut = errors.New("cut by fault injection")

// cuts is the set of gossip addresses we pretend not to reach. A nil cuts is
// empty.
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

// Cut makes us deaf and mute towards the given gossip addresses (Member.Addr):
// every packet is dropped, every stream is closed and refused, both ways. It
// adds to earlier cuts. The other side learns of it as of any broken network.
// It needs Config.Faults, and peers that have it too: with it a connection
// names its dialler's gossip address, which TCP alone does not tell.
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

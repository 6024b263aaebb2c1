package agent

import (
	"fmt"
	"strings"
)

// Cut makes this peer deaf and mute towards peers, by name or gossip address: for
// development, and only with Config.Faults.
func (a *Agent) Cut(peers ...string) error {
	if a.mem.Closed() {
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
	if a.mem.Closed() {
		return ErrClosed
	}
	if !a.cfg.Faults {
		return ErrFaultsDisabled
	}
	a.net.Heal()
	return nil
}

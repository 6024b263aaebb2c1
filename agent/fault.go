package agent

import (
	"fmt"
	"strings"
)

// Cut drops all traffic between this peer and others until Heal, to simulate a network partition.
// Each of peers is a name or a gossip address, host:port. The other peers need Config.Faults as well.
// Cut fails with ErrFaultsDisabled without Config.Faults, with ErrNotFound for a name that is no
// member's, and with ErrClosed.
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

// Heal ends every Cut. It fails with ErrFaultsDisabled without Config.Faults, and with ErrClosed.
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

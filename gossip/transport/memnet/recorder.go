package memnet

import (
	"bytes"
	"slices"
)

// Recorded is a packet that was under way.
type Recorded struct {
	From, To string
	Packet   []byte
}

// Record keeps a copy of every packet that will be delivered, from now on.
func (n *Network) Record() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.recording = true
}

// Recorded returns what was kept so far.
func (n *Network) Recorded() []Recorded {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.recorded)
}

// Inject has a packet arrive at an address as if another had sent it. Cuts, losses and
// delays do not touch it, and it is not recorded.
func (n *Network) Inject(from, to string, packet []byte) {
	n.mu.Lock()
	dst := n.nodes[to]
	n.mu.Unlock()
	if dst != nil {
		dst.arrive(bytes.Clone(packet), address(from))
	}
}

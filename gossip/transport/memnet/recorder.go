package memnet

import (
	"bytes"
	"slices"
)

// Recorded is a packet that was recorded on its way.
type Recorded struct {
	From, To string
	Packet   []byte
}

// Record keeps a copy of every packet that will be delivered from now on.
func (n *Network) Record() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.recording = true
}

// Recorded returns the packets that were recorded so far.
func (n *Network) Recorded() []Recorded {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.recorded)
}

// Inject delivers a packet to an address as if another address had sent it. Cuts, loss and delay do
// not affect it, and it is not recorded.
func (n *Network) Inject(from, to string, packet []byte) {
	n.mu.Lock()
	dst := n.nodes[to]
	n.mu.Unlock()
	if dst != nil {
		dst.arrive(bytes.Clone(packet), address(from))
	}
}

// Package memnet is an in-memory network for tests of what runs on gossip/transport. Packets can be
// lost, duplicated, delayed and reordered, streams can stall and break, and peers can be cut off in
// one direction or both.
//
//	n := memnet.New(seed)
//	a, err := n.Listen("10.0.0.1:7946")  // a memberlist.NodeAwareTransport
//	n.SetLoss(0.3)
//	n.Cut("10.0.0.1:7946", "10.0.0.2:7946") // the second does not hear the first
//	n.Heal()
//	n.Record(); …; for _, p := range n.Recorded() { n.Inject(p.From, p.To, p.Packet) }
//
// It works outside a testing/synctest bubble, and inside one, in virtual time, if everything is
// created there.
//
//	I1  The network copies what a writer passes in; the writer may reuse its buffer.
//	I2  The buffer of a delivered packet is overwritten some time after the delivery, so that a test
//	    notices a reader that kept a slice of it instead of a copy.
//	I3  A stream delivers its bytes in order, or breaks.
//	I4  A cut in either direction breaks the streams between the two peers, since no acknowledgement
//	    gets through.
//	I5  The fates of packets are drawn from the seed, in the order of the calls. Goroutines call in a
//	    different order each time, so a run cannot be replayed.
package memnet

// Package memnet is a network in memory for tests of whatever runs on
// gossip/transport: packets that get lost, doubled, delayed and overtaken,
// streams that stall and break, and cuts in one direction or both.
//
//	n := memnet.New(seed)
//	a, err := n.Listen("10.0.0.1:7946")  // a memberlist.NodeAwareTransport
//	n.SetLoss(0.3)
//	n.Cut("10.0.0.1:7946", "10.0.0.2:7946") // the first is not heard by the second
//	n.Heal()
//	n.Record(); …; for _, p := range n.Recorded() { n.Inject(p.From, p.To, p.Packet) }
//
// It works inside a testing/synctest bubble, where time costs nothing, if
// everything is created in the bubble; and outside of one.
//
//	I1  What a writer passes in is copied; the writer may reuse its buffer.
//	I2  A delivered packet's buffer is overwritten some time after its delivery,
//	    so a reader that kept a slice of it instead of a copy will notice.
//	I3  A stream delivers its bytes in order, or breaks.
//	I4  A cut in either direction breaks the streams between the two: no
//	    acknowledgement comes through.
//	I5  Fates are drawn from the seed, in the order of the calls. Goroutines do
//	    not call in the same order twice, so a run is not replayable.
package memnet

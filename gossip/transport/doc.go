// Package transport finds the peers of a cluster and carries frames between
// them. It does not look at the content of a frame.
//
// Membership is hashicorp/memberlist's (SWIM with the Lifeguard extensions),
// used as it is; frames never enter its broadcast queue, which saturates at some
// twenty messages a second for a whole cluster, and never its state exchange,
// which must stay small for joining to work. There are three calls to send:
//
//	SendPacket   one datagram, up to 1,100 B, best effort
//	SendStream   a pooled, long-lived TCP stream per peer, up to 8 MiB, in an urgent or a bulk lane
//	SendLock     the same stream, in a lane that is sent before these two, and an inbox of its own
//
//	SendPacket ─────────────────────┐                    ┌──────────────► Inbox
//	                 memberlist ────┤                    ├──► memberlist
//	                                mux ══ UDP, TCP ══ mux
//	SendStream ──► outbound ────────┘      one port      └──► servePeer ─► Inbox
//	               (per peer)
//
// All share one port. The mux is the transport memberlist runs on, and seals what
// passes: a datagram in an envelope that one life can open, once (internal/envelope), a
// connection by one round trip that checks protocol version, cluster, key and both
// ids (handshake.go). A peer stream then carries records in one direction
// (record.go).
//
// memberlist alone does not reunite a cluster that was cut in two for long; rejoin.go does.
//
// # Words
//
//	id        names one life of a peer, that is one run of its process
//	frame     the bytes of one call of SendPacket or SendStream
//	envelope  what a datagram is sealed in, see internal/envelope
//	lane      one of the queues of a peer stream; a lower lane is sent first
//	record    a piece of a frame on a peer stream
//	exchange  a connection on which memberlist compares its lists of members
//	proven    of a connection: the other side has shown that it has the cluster's key
//	place     one of the bounded number of connections that need not be proven yet
//
// # Invariants
//
//	I1  The Inbox owns the frames that it is given: the transport does not reuse their memory.
//	I2  Sending waits neither for the network nor for a peer.
//	I3  No peer can delay frames to another: each has its own queue and goroutine,
//	    and each write has a deadline.
//	I4  A stranger costs a bounded number of connections for a bounded time, and
//	    no memory for a length that it only announces.
//	I5  A peer of another cluster, protocol version or key reaches neither the
//	    Inbox nor memberlist. It is told why, counted and logged at a bounded
//	    rate. With a key, neither does what was recorded and is sent again.
//	I6  As long as one known address answers, the cluster becomes one again.
//	I7  Every frame that is lost here is counted, by cause (Stats).
//	I8  After Close no goroutine of this package is left.
//
// # Limits
//
// Nothing is sent again: package gossip notices a missing frame and asks for its content.
// Packets are unordered; frames of one lane of a stream are in order until it breaks. All
// members share one key: it keeps strangers out, and does not tell one member from another.
// Without a key Open listens on loopback only.
//
// # Usage
//
//	t, err := transport.Open(ctx, transport.Config{
//		Cluster: "lab", ID: id, Bind: "0.0.0.0:7946", Seeds: []string{"peers.lab"}, Keys: keys,
//		Inbox:     func(frame []byte, via transport.Path) { queue.Push(frame) },
//		OnMembers: func(all []transport.Member) { ... },
//	})
//	defer t.Close()
//	err = t.SendPacket(all[1].ID, frame)
package transport

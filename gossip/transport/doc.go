// Package transport finds the peers of a cluster and carries frames between
// them. What a frame means is none of its business.
//
// Membership is hashicorp/memberlist's (SWIM with the Lifeguard extensions),
// used as it is; frames never enter its broadcast queue, which saturates at some
// twenty messages a second for a whole cluster, and never its state exchange,
// which must stay small for joining to work. There are two ways for a frame:
//
//	SendPacket   one datagram, up to 1,100 B, best effort
//	SendStream   a pooled, long-lived TCP stream per peer, up to 8 MiB, two lanes
//	SendLock     the same stream, a lane before both, and an inbox of its own
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
// A cluster that was cut in two does not come together again by itself in
// memberlist. Here it does: rejoin.go.
//
// # Invariants
//
//	I1  The Inbox owns what it is given: no buffer is used again below it.
//	I2  Sending never waits for the network, nor for a peer.
//	I3  No peer can hold back another: each has its own queue and goroutine,
//	    each write a deadline.
//	I4  A stranger costs a bounded number of connections for a bounded time, and
//	    no memory for a length it merely claims.
//	I5  A peer of another cluster, protocol version or key reaches neither the
//	    Inbox nor memberlist. It is told why, counted and logged at a bounded
//	    rate. With a key, neither does what was recorded and is sent again.
//	I6  As long as one known address answers, the cluster becomes one again.
//	I7  What is lost here is counted, by cause (Stats).
//	I8  After Close no goroutine of this package is left.
//
// # Limits
//
// Delivery is at most once: nothing is sent again, for above us a missing frame
// is noticed and asked for anyway. Packets are unordered; frames of one lane of
// a stream are in order until it breaks. A key is shared by the whole cluster:
// it keeps strangers out, it does not tell one member from another. Without a
// key Open listens on loopback only.
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

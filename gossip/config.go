package gossip

import (
	"cmp"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// AtOnce is a BatchInterval of no time: every write leaves at the next Tick or Flush.
const AtOnce time.Duration = -1

// Config configures an Engine. All but Self and Cluster have useful zero values.
type Config struct {
	Self    clock.Actor // the actor whose writes are this peer's
	Cluster string      // name of the cluster; frames of another one are refused
	Rules   uint64      // fingerprint of the merge rules; Odd and PeerStatus name peers with another one
	Seed    uint64      // seed of the random choices

	BatchInterval  time.Duration // longest time that a write waits for others to share its frame; 100 ms by default, AtOnce for none
	Repair         time.Duration // age of a gap when it is requested; 20 ms by default
	DigestInterval time.Duration // pause between digests while the state changes; 200 ms by default
	DigestMax      time.Duration // greatest pause between digests while it does not; 5 s by default
	Direct         int           // greatest number of other peers that a writer pushes to itself; 8 by default
	Fanout         int           // number of children in the tree of a larger cluster; 3 by default
	QueueBytes     int           // bytes of deltas queued for one peer, beyond which it must sync instead; 8 MiB by default
	BeatInterval   time.Duration // pause between heartbeats of the workers here; 5 s by default
	MaxSkew        time.Duration // how far a write's timestamp may be ahead of the cluster's time; 60 s by default
}

// withDefaults returns c with defaults in place of zero values.
func (c Config) withDefaults() Config {
	c.BatchInterval = cmp.Or(c.BatchInterval, 100*time.Millisecond)
	c.Repair = cmp.Or(c.Repair, 20*time.Millisecond)
	c.DigestInterval = cmp.Or(c.DigestInterval, 200*time.Millisecond)
	c.DigestMax = cmp.Or(c.DigestMax, 5*time.Second)
	c.Direct = cmp.Or(c.Direct, 8)
	c.Fanout = cmp.Or(c.Fanout, 3)
	c.QueueBytes = cmp.Or(c.QueueBytes, 8<<20)
	c.BeatInterval = cmp.Or(c.BeatInterval, 5*time.Second)
	c.MaxSkew = cmp.Or(c.MaxSkew, time.Minute)
	return c
}

// Peer is another member of the cluster.
type Peer struct {
	Actor clock.Actor
	Name  string
	Alive bool // a peer that is down gets no frames, but dots that it has not seen are not stable
}

// Class is the way by which an Envelope travels.
type Class uint8

var classNames = [...]string{"packet", "urgent", "bulk"}

// String returns packet, urgent or bulk.
func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return "unknown"
}

// The classes of an Envelope.
const (
	Packet Class = iota // one datagram, which may be lost
	Urgent              // the peer's stream, before all that is Bulk
	Bulk                // the peer's stream
)

// Envelope is a frame for one peer. Frame belongs to the caller of Engine.Envelopes.
type Envelope struct {
	To    clock.Actor
	Class Class
	Frame []byte
}

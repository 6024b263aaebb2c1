package gossip

import (
	"cmp"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// AtOnce as a batch interval hands every write to the network without waiting.
const AtOnce time.Duration = -1

// Config configures an Engine. All but Self and Cluster have useful zero values.
type Config struct {
	Self    clock.Actor
	Cluster string // frames of another cluster are refused
	Rules   uint64 // fingerprint; peers with another are named in PeerStatus
	Seed    uint64 // of the choice of partners

	BatchInterval  time.Duration // how long a write may wait for company; 100 ms, or AtOnce
	Repair         time.Duration // how long a hole may stay before it is asked for: 20 ms
	DigestInterval time.Duration // between digests while something changes: 200 ms
	DigestMax      time.Duration // between digests when nothing does: 5 s
	Direct         int           // up to so many peers, writes go straight to all: 8
	Fanout         int           // beyond, children in the tree: 3
	QueueBytes     int           // waiting for one peer, before it must sync instead: 8 MiB
	BeatInterval   time.Duration // between heartbeats of the workers here: 5 s
	MaxSkew        time.Duration // how far ahead of this peer's clock a write may be: 60 s
}

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
	Alive bool // a dead peer gets nothing, but what it has not seen is not forgotten
}

// Class is how an Envelope travels.
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
	Packet Class = iota // one datagram; may be lost
	Urgent              // on the peer's stream, before all bulk
	Bulk                // on the peer's stream
)

// Envelope is a frame for one peer. Frame belongs to the receiver.
type Envelope struct {
	To    clock.Actor
	Class Class
	Frame []byte
}

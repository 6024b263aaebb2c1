package agent

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/gossip"
	"github.com/sentinel-peer/sentinel-peer/gossip/transport"
	"github.com/sentinel-peer/sentinel-peer/internal/hostmem"
)

// AtOnce is a Config.BatchInterval. With it each write is sent without waiting for others.
const AtOnce = gossip.AtOnce

// Manual is a Config.HeartbeatInterval, for a peer that is no worker itself. With it only calls of
// Workers.Heartbeat renew the heartbeat of this peer's worker.
const Manual time.Duration = -1

// Never is a Config.DefaultTTL. With it the statuses and capacities of workers do not expire.
const Never time.Duration = -1

// Config configures an Agent. Name and Cluster are mandatory. The zero value of each other field is
// replaced by its default, which the field's comment gives first.
type Config struct {
	// Name is the name of this peer and of its worker. It must be unique among the peers that are
	// up: up to 128 bytes without '/' or control characters.
	Name string
	// Cluster is the name of the cluster, up to 64 bytes. Peers of other clusters are refused.
	Cluster string
	// Bind is the address at which this peer listens for other peers, host:port: 127.0.0.1:0 by
	// default. Keys are mandatory if it is not a loopback address.
	Bind string
	// Advertise is the address at which other peers reach this one, host:port: Bind by default.
	Advertise string
	// Seeds are the addresses of some peers, host:port. Their host names are resolved again as long
	// as this peer runs.
	Seeds []string
	// Keys are up to 8 secrets of 16, 24 or 32 bytes each. The first one seals what this peer sends;
	// each of them opens what it receives. See Agent.SetKeys.
	Keys [][]byte
	// HTTP is the address of this peer's HTTP API, which Members shows to the other peers.
	HTTP string

	Rules     []crdt.Rule              // types of keys by pattern; they come before the default rules
	Resolvers map[string]crdt.Resolver // resolvers of custom types, by crdt.Rule.Resolver

	BatchInterval time.Duration // how long a write may wait to be sent with others: 100 ms; up to 24 h, or AtOnce
	DefaultTTL    time.Duration // TTL of statuses and capacities of workers: one hour; 1 s or more, or Never
	CacheSize     int           // greatest number of decoded values kept for GetAs: 1,000
	CacheTTL      time.Duration // how long a decoded value is kept at most: one hour

	HeartbeatInterval time.Duration // interval between heartbeats of the workers of this peer: 5 s; 100 ms or more, or Manual
	HeartbeatTTL      time.Duration // how long a heartbeat is good: six intervals; at least two of them, and at most one hour

	Locks  LockConfig       // the peers that certify leases: this peer alone, unless voters are named
	Queues workqueue.Config // bounds of work queues

	WatchBuffer int           // greatest number of events that wait for a subscriber: 1,024, and 16 MiB of keys and values
	History     int           // greatest number of events kept for resuming: 8,192; up to 1,048,576, and 16 MiB of keys and values
	MaxSkew     time.Duration // how far the clocks of peers may differ: 60 s; 1 s to 24 h
	MaxBacklog  int           // bytes written that may wait for the loop before more writes wait: 64 MiB

	// MaxBytes bounds the memory, in bytes, that writes of this peer may fill: 1 MiB or more. The
	// default is half of what the control group or the machine allows, or 1 GiB where neither is
	// known. A write that would add to a full store fails with a *crdt.FullError. Deletes, and
	// writes that take no more room than what they replace, always succeed. What comes from other
	// peers is always merged.
	MaxBytes int

	// Logger discards by default. Its handler runs on a goroutine of its own, one line after the
	// other, and may call the agent. While the handler blocks, up to 1,024 lines wait; further lines
	// are dropped and counted. Close waits up to a second for the last lines.
	Logger *slog.Logger
	// Faults allows Agent.Cut, for development. Bind must be a loopback address then.
	Faults bool

	// Network replaces real sockets in tests.
	Network transport.Network
}

func (c Config) withDefaults() Config {
	c.Bind = cmp.Or(c.Bind, "127.0.0.1:0")
	c.DefaultTTL = cmp.Or(c.DefaultTTL, time.Hour)
	c.HeartbeatInterval = cmp.Or(c.HeartbeatInterval, 5*time.Second)
	c.HeartbeatTTL = cmp.Or(c.HeartbeatTTL, 6*max(c.HeartbeatInterval, 5*time.Second))
	c.CacheSize = cmp.Or(c.CacheSize, 1000)
	c.CacheTTL = cmp.Or(c.CacheTTL, time.Hour)
	c.WatchBuffer = cmp.Or(c.WatchBuffer, 1024)
	c.History = cmp.Or(c.History, 8192)
	c.MaxSkew = cmp.Or(c.MaxSkew, time.Minute)
	c.MaxBacklog = cmp.Or(c.MaxBacklog, 64<<20)
	c.MaxBytes = cmp.Or(c.MaxBytes, hostmem.Read().Least()/2, 1<<30)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Bounds of a Config.
const (
	maxBatchInterval = 24 * time.Hour // the interval is for saving packets; ForceSync and urgent writes do not wait for it
	maxHistory       = 1 << 20        // in events; the ring for all of them is allocated at once
	maxSkew          = 24 * time.Hour // a greater difference is a clock that is wrong, not skew
	leastBytes       = 1 << 20        // the size of the longest value
)

// validate returns an error that joins all faults of c, nil if there is none.
func (c Config) validate() error {
	var faults []error
	complain := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	complain(c.Name == "", "name is empty; give each worker its own")
	complain(len(c.Name) > 128 || strings.Contains(c.Name, "/") || c.Name != "" && crdt.ValidateKey(c.Name) != nil,
		"name %q: want up to 128 bytes of text without '/' or control characters", c.Name)
	complain(c.Cluster == "" || len(c.Cluster) > 64, "cluster %q: want 1 to 64 bytes", c.Cluster)
	complain(c.CacheSize < 0 || c.WatchBuffer < 0 || c.MaxBacklog < 0, "sizes may not be negative")
	complain(c.History < 0 || c.History > maxHistory, "history of %d events: want 1 to %d", c.History, maxHistory)
	complain(c.MaxBytes < leastBytes, "memory bound of %d bytes: want %d or more", c.MaxBytes, leastBytes)
	complain(c.CacheTTL < 0, "cache TTL %v: want a positive duration", c.CacheTTL)
	complain(c.MaxSkew < time.Second || c.MaxSkew > maxSkew, "clock skew %v: want 1s to %v", c.MaxSkew, maxSkew)
	complain(c.BatchInterval < 0 && c.BatchInterval != AtOnce || c.BatchInterval > maxBatchInterval, "batch interval %v: want up to %v, or AtOnce", c.BatchInterval, maxBatchInterval)
	complain(c.DefaultTTL < time.Second && c.DefaultTTL != Never, "default TTL %v: want 1s or more, or Never", c.DefaultTTL)
	complain(c.HeartbeatInterval < 100*time.Millisecond && c.HeartbeatInterval != Manual, "heartbeat interval %v: want 100 ms or more, or Manual", c.HeartbeatInterval)
	complain(c.HeartbeatTTL/2 < c.HeartbeatInterval || c.HeartbeatTTL <= 0 || c.HeartbeatTTL > gossip.MaxHeartbeatTTL,
		"heartbeat TTL %v: want at least two intervals, for one heartbeat may be lost, and at most %v", c.HeartbeatTTL, gossip.MaxHeartbeatTTL)
	if err := c.Queues.Validate(); err != nil {
		faults = append(faults, err)
	}
	for _, r := range c.Rules {
		complain(r.Kind == crdt.Custom && c.Resolvers[r.Resolver] == nil,
			"rule %q: there is no resolver %q in Resolvers", r.Pattern, r.Resolver)
	}
	return errors.Join(faults...)
}

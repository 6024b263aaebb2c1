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

// AtOnce as Config.BatchInterval hands every write to the network without waiting.
const AtOnce = gossip.AtOnce

// Manual as Config.HeartbeatInterval makes this peer's worker live only by
// Workers.Heartbeat: for peers that are no worker themselves.
const Manual time.Duration = -1

// Never as Config.DefaultTTL lets signs of life stay.
const Never time.Duration = -1

// Config configures an Agent. Name and Cluster are mandatory, the rest works at
// its zero value.
type Config struct {
	Name      string   // of this worker, unique among those that are up; up to 128 bytes, no '/'
	Cluster   string   // peers of other clusters are refused; up to 64 bytes
	Bind      string   // host:port for peers, 127.0.0.1:0 by default; beyond loopback Keys is mandatory
	Advertise string   // host:port others reach this peer at, if not Bind
	Seeds     []string // host:port of some peers; names are resolved anew for life
	Keys      [][]byte // up to 8 of 16, 24 or 32 bytes each: the first seals, all open; see SetKeys
	HTTP      string   // address of this peer's HTTP API, told to the others

	Rules     []crdt.Rule              // types by key pattern, before the default ones
	Resolvers map[string]crdt.Resolver // of custom types, by Rule.Resolver

	BatchInterval time.Duration // how long a write may wait for company: 100 ms, up to 24 h, or AtOnce
	DefaultTTL    time.Duration // of what workers say of themselves: one hour, 1 s or more, or Never; other writes stay
	CacheSize     int           // decoded values kept for GetAs: 1,000
	CacheTTL      time.Duration // and how long: one hour

	HeartbeatInterval time.Duration // of the workers of this peer: 5 s, or Manual
	HeartbeatTTL      time.Duration // how long one is good: six intervals, 30 s

	Locks  LockConfig       // who certifies leases: this peer alone, unless voters are named
	Queues workqueue.Config // bounds of work queues

	WatchBuffer int           // events a subscriber may be behind: 1,024, and at most 16 MiB of keys and values
	History     int           // events kept for resuming: 8,192, up to 1,048,576, and at most 16 MiB of keys and values
	MaxSkew     time.Duration // how far clocks may differ: 60 s; 1 s to 24 h
	MaxBacklog  int           // bytes written and not yet carried out, before writes wait: 64 MiB

	// MaxBytes bounds the memory that writes here may fill: 1 MiB or more. By default it
	// is half of what the control group or the machine allows, or 1 GiB where neither
	// is known. Beyond it a write that adds to what is kept fails with a
	// *crdt.FullError; deletes, and writes that take no more room than what they
	// replace, always work, and so does what comes from other peers.
	MaxBytes int

	// Logger discards by default. Its handler runs on a goroutine of its own, one line
	// after the other, and may call the agent; while it blocks, up to 1,024 lines wait
	// and more are dropped and counted. Close waits a second for the last of them.
	Logger *slog.Logger
	Faults bool // allow Cut, for development; loopback only

	// Network replaces real sockets, in tests.
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
	maxBatchInterval = 24 * time.Hour // ForceSync and urgent writes end it sooner
	maxHistory       = 1 << 20        // its table is made at once
	maxSkew          = 24 * time.Hour // of clocks that mean the same time
	leastBytes       = 1 << 20        // the longest value
)

// validate returns everything that is wrong.
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

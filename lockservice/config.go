package lockservice

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits that peers must agree on.
const (
	MaxVoters    = 7                      // greatest number of named voters
	MaxNameBytes = 256                    // greatest length of a lock's name
	MaxSlots     = 64                     // greatest number of slots of a semaphore
	LeastTTL     = 500 * time.Millisecond // shortest TTL of a lease
)

// Config configures a Node. Self, Boot and Voters are mandatory; every other field has a default
// for its zero value.
type Config struct {
	Self   string   // name of this peer, as lists of voters spell it: 1 to 128 bytes
	Boot   [16]byte // random bytes that differ at every start
	Secret [32]byte // random bytes from which the names of leases are derived; never sent
	Seed   uint64   // seed of jitter
	Voters Voters

	MaxTTL     time.Duration // longest TTL of a lease, up to 24 h; 15 s by default
	Drift      int           // greatest deviation of a clock from real time, in parts per million: up to 100,000; 10,000 by default
	WallSkew   time.Duration // greatest difference of the voters' wall clocks, up to 1 h; 2 s by default
	Quarantine time.Duration // silence of a voter after its start; by default, and at least, what MaxTTL, Drift and WallSkew require
	MaxLocks   int           // greatest number of locks with a record at a voter, and with a queue at an owner; 131,072 by default
	MaxQueue   int           // greatest number of waiters of one lock at an owner; 4,096 by default

	// Barred, if set, reports that this voter must not certify a lock under token now: the
	// caller knows that what the lock protects is finished under another token or is not to
	// begin yet, or has restarted and does not know. It is called with the node locked: it
	// must decide from memory and must not call the node or its session.
	Barred func(lock string, token uint64) bool

	// Behind, if set, yields calls that wait in the session behind another call of their
	// own and have not reached the node, each with the time when it was asked for. A survey
	// lists them as waiting.
	Behind iter.Seq2[Call, time.Duration]

	// FirstBoot asserts that no earlier life of this voter can have certified a
	// lease that still runs: it skips the quarantine. A wrong assertion lets a
	// lock be held twice.
	FirstBoot bool
	// Durable says that the caller makes Ready.Persist durable. Tokens then rise across
	// restarts whatever the wall clocks say.
	Durable bool
	State   State // what was made durable last
}

// State is what a voter keeps on disk: a few bytes, rewritten every few seconds.
type State struct {
	TokenBound uint64 // no token above it was acknowledged
	Epoch      uint64 // the epoch that was adopted last
}

func (c Config) withDefaults() Config {
	c.Voters = c.Voters.normal()
	c.MaxTTL = cmp.Or(c.MaxTTL, 15*time.Second)
	c.Drift = cmp.Or(c.Drift, 10_000)
	c.WallSkew = cmp.Or(c.WallSkew, 2*time.Second)
	c.Quarantine = max(c.Quarantine, c.leastQuarantine())
	c.MaxLocks = cmp.Or(c.MaxLocks, 1<<17)
	c.MaxQueue = cmp.Or(c.MaxQueue, 4096)
	return c
}

// leastQuarantine returns how long a lease that an earlier process certified may still run.
// Without a durable bound it also covers WallSkew, so that every wall clock, and with it every
// new token, has passed the tokens that the earlier process acknowledged.
func (c Config) leastQuarantine() time.Duration {
	if c.Durable {
		return stretch(c.MaxTTL, c.Drift)
	}
	return stretch(c.MaxTTL+c.WallSkew, c.Drift)
}

// recall returns how long after its quarantine a voter may still lack leases that run: a lease is
// renewed every third of its TTL.
func (c Config) recall() time.Duration { return c.MaxTTL / 3 }

func (c Config) validate() error {
	var all []error
	complain := func(bad bool, format string, args ...any) {
		if bad {
			all = append(all, fmt.Errorf(format, args...))
		}
	}
	complain(c.Self == "" || len(c.Self) > maxNodeBytes, "name %q: want 1 to %d bytes", c.Self, maxNodeBytes)
	complain(c.Boot == [16]byte{}, "field Boot is zero: want 16 random bytes, others at every start")
	complain(c.MaxTTL < LeastTTL || c.MaxTTL > 24*time.Hour, "MaxTTL %v: want %v to 24h", c.MaxTTL, LeastTTL)
	complain(c.Drift < 0 || c.Drift > 100_000, "drift of %d ppm: want 0 to 100,000", c.Drift)
	complain(c.WallSkew < 0 || c.WallSkew > time.Hour, "wall clock skew %v: want 0 to 1h", c.WallSkew)
	complain(c.MaxLocks < 0 || c.MaxQueue < 0, "limits may not be negative")
	complain(c.State.Epoch > c.Voters.Epoch,
		"voters of epoch %d: this peer has adopted epoch %d already; give it the newer list", c.Voters.Epoch, c.State.Epoch)
	return errors.Join(append(all, c.Voters.validate())...)
}

// validateName returns what is wrong with the name of a lock.
func validateName(name string) error {
	switch {
	case name == "":
		return &NameError{name, "it is empty"}
	case len(name) > MaxNameBytes:
		return &NameError{name[:32] + "…", fmt.Sprintf("it has %d bytes; allowed are %d", len(name), MaxNameBytes)}
	case !utf8.ValidString(name):
		return &NameError{name, "it is not UTF-8"}
	}
	for _, r := range name {
		if r == '#' || unicode.IsControl(r) {
			return &NameError{name, fmt.Sprintf("%q is not allowed in it", r)}
		}
	}
	return nil
}

// validateClient returns what is wrong with the name of a client.
func validateClient(name string) error {
	if !isClient(name) {
		return fmt.Errorf("client %q: want up to %d bytes of text without control characters", name[:min(len(name), MaxClientBytes)], MaxClientBytes)
	}
	return nil
}

func isClient(name string) bool {
	return len(name) <= MaxClientBytes && utf8.ValidString(name) && strings.IndexFunc(name, unicode.IsControl) < 0
}

func (c Config) validateTTL(ttl time.Duration) error {
	if ttl < LeastTTL || ttl > c.MaxTTL {
		return &TTLError{TTL: ttl, Least: LeastTTL, Most: c.MaxTTL}
	}
	return nil
}

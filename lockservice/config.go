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
	MaxVoters    = 7                      // named voters
	MaxNameBytes = 256                    // the name of a lock
	MaxSlots     = 64                     // of a semaphore
	LeastTTL     = 500 * time.Millisecond // of a lease
)

// Config configures a Node. Self, Boot and Voters are mandatory, the rest works at
// its zero value.
type Config struct {
	Self   string   // this peer's name; voters are named by it
	Boot   [16]byte // random, another at every start
	Secret [32]byte // random: with it the names of leases could be guessed
	Seed   uint64   // of jitter
	Voters Voters

	MaxTTL     time.Duration // the longest lease: 15 s
	Drift      int           // how far a clock may be from real time, in parts per million: 10,000
	WallSkew   time.Duration // how far the voters' wall clocks may differ: 2 s
	Quarantine time.Duration // how long a voter that has started is silent: what MaxTTL, Drift and WallSkew ask for, or longer
	MaxLocks   int           // locks held at a voter, and queues at an owner: 131,072
	MaxQueue   int           // waiters of one lock: 4,096

	// Barred, if set, says that this voter certifies a lock no more, under any other
	// token than the one that barred it: what it protected is done with. It decides
	// in memory, and calls nothing of the node or its session.
	Barred func(lock string, token uint64) bool

	// Behind, if set, yields calls that wait here and were not made yet, and when they were
	// asked for: those of a session behind one of its own. A survey tells of them.
	Behind iter.Seq2[Call, time.Duration]

	// FirstBoot asserts that no earlier life of this voter can have certified a
	// lease that still runs: it skips the quarantine. A wrong assertion lets a
	// lock be held twice.
	FirstBoot bool
	// Durable says that the caller makes Ready.Persist durable, and State what was
	// made so last. Tokens then rise across restarts whatever the wall clocks say.
	Durable bool
	State   State
}

// State is what a voter keeps on disk: a few bytes, rewritten every few seconds.
type State struct {
	TokenBound uint64 // no token above it was acknowledged
	Epoch      uint64 // of the voters last adopted
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

// leastQuarantine is how long what an earlier life certified may still be in force.
// Without a durable bound of tokens, the wall clocks must have passed all of its.
func (c Config) leastQuarantine() time.Duration {
	if c.Durable {
		return stretch(c.MaxTTL, c.Drift)
	}
	return stretch(c.MaxTTL+c.WallSkew, c.Drift)
}

// recall is how long after its quarantine a voter has heard of every lease again: each is
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

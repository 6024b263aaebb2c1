package lockservice

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Voters are the peers whose majority certifies leases. They are named, not
// discovered: a majority of those who happen to be visible is no majority. One
// voter works, without tolerance of a fault; with two any loss stops all locks;
// three survive one loss, five two.
type Voters struct {
	Epoch uint64   // counts the changes of the list; 1 if zero
	Names []string // 1 to MaxVoters; the address of a voter may change, its name may not

	// BestEffort takes the first three peers of the live view as voters instead of
	// Names. Two sides of a partition then grant one lock twice, and tokens are not
	// ordered between them. After a heal the lease with the lower token is lost
	// with ErrConflict.
	BestEffort bool
}

func (v Voters) normal() Voters {
	v.Epoch = max(v.Epoch, 1)
	v.Names = slices.Clone(v.Names)
	slices.Sort(v.Names)
	return v
}

func (v Voters) validate() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrVoters, fmt.Sprintf(format, args...))
	}
	if v.BestEffort {
		if len(v.Names) > 0 {
			return bad("best-effort mode takes them from the live view; %d are named", len(v.Names))
		}
		return nil
	}
	if len(v.Names) == 0 || len(v.Names) > MaxVoters {
		return bad("%d are named; allowed are 1 to %d", len(v.Names), MaxVoters)
	}
	for i, name := range v.Names {
		if name == "" || len(name) > maxNodeBytes {
			return bad("the name %q has %d bytes; allowed are 1 to %d", name, len(name), maxNodeBytes)
		}
		if slices.Contains(v.Names[:i], name) {
			return bad("%q is named twice", name)
		}
	}
	return nil
}

// electorate is the voters in force at one node, and how far their adoption by the
// others has got.
type electorate struct {
	Voters
	hash    uint64
	adopted map[string]bool // voters seen at this epoch
	settled bool            // enough have adopted it, since:
	since   time.Duration
}

// newElectorate puts v in force. The hash covers all that peers must agree on.
func newElectorate(v Voters, cfg Config) *electorate {
	h := hash64(fmt.Sprintf("%d %t %d %d %q", v.Epoch, v.BestEffort, cfg.MaxTTL, cfg.Drift, v.Names))
	return &electorate{Voters: v, hash: mix(h), adopted: make(map[string]bool)}
}

func (e *electorate) majority() int { return len(e.Names)/2 + 1 }

// index returns the position of a voter, -1 if name is none.
func (e *electorate) index(name string) int {
	for i, n := range e.Names {
		if n == name {
			return i
		}
	}
	return -1
}

// adopt notes that a voter works by this epoch or a later one.
func (e *electorate) adopt(now time.Duration, name string) {
	if e.settled || e.index(name) < 0 {
		return
	}
	e.adopted[name] = true
	// The voters before differ by one name that a restarted node does not know. So
	// many of the present ones are a majority of those in either case (R4).
	if len(e.adopted) >= min(len(e.Names), (len(e.Names)+1)/2+1) {
		e.settled, e.since = true, now
	}
}

// follow returns why v may not be put in force after e, nil if it may.
//
// Majorities of two lists that differ by one name intersect, so one step is safe
// at any time (R3). Two steps are not, unless nobody can be granted a lease by the
// first list any more, and those that were have ended (R4).
func (e *electorate) follow(now time.Duration, v Voters, quarantine time.Duration) error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrReload, fmt.Sprintf(format, args...))
	}
	if v.BestEffort != e.BestEffort {
		return refuse("named voters and best-effort mode cannot replace each other while running")
	}
	if v.Epoch != e.Epoch+1 {
		return refuse("the list has epoch %d, want %d, one above the present", v.Epoch, e.Epoch+1)
	}
	if changed := difference(e.Names, v.Names); len(changed) != 1 {
		return refuse("%d names change (%s); add or remove exactly one at a time", len(changed), strings.Join(changed, ", "))
	}
	if e.Epoch == 1 {
		return nil // nothing came before
	}
	if !e.settled {
		return refuse("epoch %d has been adopted by %d of its %d voters, which is too few", e.Epoch, len(e.adopted), len(e.Names))
	}
	if left := e.since + quarantine - now; left > 0 {
		return refuse("leases by the voters before epoch %d may run for another %v", e.Epoch, left.Round(time.Millisecond))
	}
	return nil
}

// difference returns the names in one of two sorted lists only, with + or -.
func difference(old, now []string) (changed []string) {
	for _, n := range old {
		if !slices.Contains(now, n) {
			changed = append(changed, "-"+n)
		}
	}
	for _, n := range now {
		if !slices.Contains(old, n) {
			changed = append(changed, "+"+n)
		}
	}
	return changed
}

// Guarantee is what a lease is worth.
type Guarantee uint8

// The guarantees.
const (
	Quorum     Guarantee = iota // a majority of named voters: never held twice
	BestEffort                  // the live view's majority: held once on each side of a partition
	ThisPeer                    // nobody but this peer: held once among its callers, and again at every other peer
)

// String returns quorum, best-effort or this-peer.
func (g Guarantee) String() string {
	switch g {
	case BestEffort:
		return "best-effort"
	case ThisPeer:
		return "this-peer"
	}
	return "quorum"
}

package lockservice

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Voters are the peers whose majority certifies leases. They are configured and not discovered,
// since two sides of a partition can both have a majority of the peers that they see. One
// voter works without fault tolerance; with two, the loss of either stops all locks; three
// survive the loss of one, five the loss of two.
type Voters struct {
	Epoch uint64   // number of the list, counted from 1; 0 means 1
	Names []string // 1 to MaxVoters names; the address of a voter may change, and its name may not

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

// electorate holds the voters in force at one node, and how many of them have adopted this epoch.
type electorate struct {
	Voters
	hash    uint64          // covers everything on which voters of one epoch must agree
	adopted map[string]bool // voters that work by this epoch or a later one
	settled bool            // enough voters have adopted the epoch
	since   time.Duration   // when it became settled
}

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

// adopt notes that the voter name works by this epoch or a later one.
func (e *electorate) adopt(now time.Duration, name string) {
	if e.settled || e.index(name) < 0 {
		return
	}
	e.adopted[name] = true
	// The list before differs by one name, and a restarted node does not know which. This
	// many of the present voters include a majority of that list in any case (R4).
	if len(e.adopted) >= min(len(e.Names), (len(e.Names)+1)/2+1) {
		e.settled, e.since = true, now
	}
}

// follow returns why v may not be put in force after e, nil if it may.
//
// Majorities of two lists that differ by one name intersect, so one step is safe at any time
// (R3). A second step is safe only when the first list can grant no lease any more, and the
// leases that it granted have ended (R4).
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
	Quorum     Guarantee = iota // a majority of named voters certifies: a lock is never held twice
	BestEffort                  // a majority of the view certifies: a lock may be held once on each side of a partition
	ThisPeer                    // this peer alone certifies: a lock may be held once at every peer
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

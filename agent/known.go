package agent

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/gossip"
	"github.com/sentinel-peer/sentinel-peer/gossip/transport"
	"github.com/sentinel-peer/sentinel-peer/internal/replica"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// known is one run of a peer, with the latest metadata that it announced. A dead run is kept until
// Forget or until a later run of the same name is up: removals that it has not acknowledged must not
// be collected before.
type known struct {
	transport.Member
	actor clock.Actor
	name  string
	http  string
	rules uint64 // fingerprint of its rules
	locks lockservice.Guarantee
	keys  []string // short names of its keys; the slice is replaced, never changed
}

// peer returns the member as the replica sees it.
func (k known) peer() gossip.Peer {
	return gossip.Peer{Actor: k.actor, Name: k.name, Alive: k.State == transport.Alive}
}

const metaVersion = 1

// metaOf encodes the metadata that a announces to the others: [version, actor, name, HTTP
// address, fingerprint of the rules, guarantee of its leases, short names of its keys].
func metaOf(a *Agent) []byte {
	var actor clock.Actor
	var keyIDs []string
	a.mem.Do(func(r *replica.Replica, _ time.Time) { actor, keyIDs = r.Actor(), a.keyIDs })
	b := wire.AppendArray(nil, 7)
	b = wire.AppendUint(b, metaVersion)
	b = clock.AppendActor(b, actor)
	b = wire.AppendStr(b, a.cfg.Name)
	b = wire.AppendStr(b, a.cfg.HTTP)
	b = wire.AppendUint(b, a.rules.Fingerprint())
	b = wire.AppendUint(b, uint64(a.locks.session.Guarantee()))
	return wire.AppendStr(b, strings.Join(keyIDs, ","))
}

// readMeta decodes what metaOf of another peer encoded. A longer array of a later version is accepted.
func readMeta(m transport.Member) (known, error) {
	k := known{Member: m}
	if _, err := wire.Check(m.Meta, wire.Limits{Depth: 1, Nodes: 32}); err != nil {
		return k, err
	}
	r := wire.NewReader(m.Meta)
	n := r.ArrayLen()
	version := r.Uint()
	k.actor, k.name, k.http, k.rules = clock.ReadActor(&r), string(r.Str()), string(r.Str()), r.Uint()
	k.locks = lockservice.Guarantee(min(r.Uint(), math.MaxUint8))
	if n > 6 {
		k.keys = readKeys(r.Str())
	}
	if r.Err() == nil && (n < 6 || version == 0) {
		r.Fail("meta")
	}
	return k, r.Err()
}

var keyNames = regexp.MustCompile(`^[0-9a-f]{8}(,[0-9a-f]{8}){0,7}$`)

// readKeys returns the short names of keys in text, nil if text is anything else.
func readKeys(text []byte) []string {
	if !keyNames.Match(text) {
		return nil
	}
	return strings.Split(string(text), ",")
}

// showGone is how long a run that has left stays listed, so that a user sees why a peer is missing.
const showGone = 10 * time.Minute

// dropPast drops the members that need not be known any more: a run that a later run of its peer has
// replaced, and a run that left more than showGone ago.
func (r *roster) dropPast() {
	births := make(gossip.Births)
	for _, k := range r.members {
		births.Add(k.peer())
	}
	r.members = slices.DeleteFunc(r.members, func(k known) bool {
		return births.Replaced(k.peer()) || k.State == transport.Left && time.Since(k.Since) > showGone
	})
}

// Forget takes the runs of the peer of this name that are down off the members. Removals that wait
// for their acknowledgement can be collected then. If a forgotten peer comes back, its state is
// merged as that of any other peer. Forget fails with ErrNotFound if no such run is known, with
// ErrAlive if the peer is up, and with ErrClosed.
func (a *Agent) Forget(name string) error {
	if a.mem.Closed() {
		return ErrClosed
	}
	var err error
	a.mem.Do(func(r *replica.Replica, now time.Time) {
		if err = a.roster.strike(name); err == nil {
			a.viewChanged(r, now)
		}
	})
	return err
}

// strike takes the runs of this name that are down off the members.
func (r *roster) strike(name string) error {
	before, alive := len(r.members), name == r.name
	r.members = slices.DeleteFunc(r.members, func(k known) bool {
		gone := k.name == name && k.State != transport.Alive && k.ID != r.id
		alive = alive || k.name == name && k.State == transport.Alive
		if gone {
			r.forgotten[k.ID] = true
		}
		return gone
	})
	switch {
	case len(r.members) < before:
		return nil
	case alive:
		return fmt.Errorf("forget %q: %w, and only one that is down can be forgotten: stop it first", name, ErrAlive)
	}
	return fmt.Errorf("forget %q: %w among the peers that are down", name, ErrNotFound)
}

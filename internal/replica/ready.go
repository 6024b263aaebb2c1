package replica

import (
	"cmp"
	"slices"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/gossip"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// Ready lists the actions that the owner must take, in this order: write the journal to disk,
// pass the changes to readers, send the envelopes. Because of the order, this peer knows after a
// restart everything that it has sent to another peer, acknowledgements included.
type Ready struct {
	Journal   []crdt.Saved // entries of one transaction; empty without Config.Journal
	Changes   []crdt.Change
	Envelopes []gossip.Envelope
	Acked     bool     // an acknowledgement of this peer's writes arrived
	Rotated   bool     // Actor changed; the other peers must be told
	Notices   []Notice // problems that began
	Faults    []error  // why writes of the machine's own failed, for a log
}

// Ready returns what has accumulated since the last call. The slices belong to the caller, which may
// give Changes back with Store().Recycle.
func (r *Replica) Ready() Ready {
	rd := Ready{
		Journal:   r.journal(),
		Changes:   r.store.Changes(),
		Envelopes: r.engine.Envelopes(),
		Acked:     r.engine.AckEpoch() != r.ackEpoch,
		Rotated:   r.rotated,
		Notices:   r.notices,
		Faults:    r.faults,
	}
	r.ackEpoch = r.engine.AckEpoch()
	r.rotated, r.notices, r.faults = false, nil, nil
	return rd
}

// stampKey is the key under which the image on disk holds the latest stamp. With it a write after a
// restart is later than all writes before, even those that have been overwritten.
const stampKey = "t"

func (r *Replica) journal() []crdt.Saved {
	list := r.store.Journal()
	if len(list) > 0 {
		list = append(list, crdt.Saved{Key: []byte(stampKey), Value: wire.AppendUint(nil, uint64(r.hlc.Last()))})
	}
	return list
}

// Restore adds an entry of the image on disk. Entries come in the order of their keys, before any
// other call to a new replica. The replica still writes as a new actor. An error says that
// the entry is malformed.
func (r *Replica) Restore(e crdt.Saved) error {
	if string(e.Key) == stampKey {
		in := wire.NewReader(e.Value)
		r.engine.Restored(clock.Timestamp(in.Uint()))
		r.hlc.Observe(r.engine.MaxStamp())
		return in.Err()
	}
	return r.store.Restore(e)
}

// Problem is a kind of fault of a peer.
type Problem uint8

// The problems.
const (
	Clone         Problem = iota + 1 // two peers wrote as one actor
	DuplicateName                    // two live peers have one name
	ClockSkew                        // the peer's clock deviates too far from the cluster's
	RulesDiffer                      // the peer's rules give keys other kinds
	Filling                          // the peer's store takes four fifths of its limit
	TwoContents                      // a write of the peer came with two contents
	Disputed                         // it alone says of records that they are gone
)

// String returns a short description.
func (p Problem) String() string {
	switch p {
	case Clone:
		return "clone"
	case DuplicateName:
		return "duplicate name"
	case ClockSkew:
		return "clock skew"
	case RulesDiffer:
		return "rules differ"
	case Filling:
		return "memory nearly full"
	case TwoContents:
		return "two contents"
	case Disputed:
		return "records disputed"
	}
	return "unknown"
}

// Notice says that a problem began.
type Notice struct {
	Problem Problem
	Name    string // name of the peer
	Detail  string // what was seen, for an operator; may be empty
}

func (n Notice) compare(o Notice) int {
	return cmp.Or(cmp.Compare(n.Problem, o.Problem), cmp.Compare(n.Name, o.Name))
}

// Problems returns the problems that existed at the last inspection, ordered by problem and name.
func (r *Replica) Problems() []Notice {
	list := make([]Notice, 0, len(r.named))
	for n := range r.named {
		list = append(list, n)
	}
	slices.SortFunc(list, Notice.compare)
	return list
}

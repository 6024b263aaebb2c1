package replica

import (
	"cmp"
	"slices"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/gossip"
)

// Ready is what must happen, in this order: subscribers hear of the changes, then
// the envelopes go out.
type Ready struct {
	Changes   []crdt.Change
	Envelopes []gossip.Envelope
	Acked     bool     // an acknowledgement of this peer's writes arrived
	Rotated   bool     // Actor changed; the others must be told
	Notices   []Notice // problems that began
}

// Ready takes what has accumulated. The slices are the caller's; Changes may go
// back with Store().Recycle.
func (r *Replica) Ready() Ready {
	rd := Ready{
		Changes:   r.store.Changes(),
		Envelopes: r.engine.Envelopes(),
		Acked:     r.engine.AckEpoch() != r.ackEpoch,
		Rotated:   r.rotated,
		Notices:   r.notices,
	}
	r.ackEpoch = r.engine.AckEpoch()
	r.rotated, r.notices = false, nil
	return rd
}

// Problem is what can be wrong with a peer.
type Problem uint8

// The problems.
const (
	Clone         Problem = iota + 1 // two peers wrote as one actor
	DuplicateName                    // two live peers have one name
	ClockSkew                        // its clock is too far off the cluster's
	RulesDiffer                      // its rules give keys other kinds
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
	}
	return "unknown"
}

// Notice says that a problem began.
type Notice struct {
	Problem Problem
	Name    string // of the peer
	Detail  string
}

func (n Notice) compare(o Notice) int {
	return cmp.Or(cmp.Compare(n.Problem, o.Problem), cmp.Compare(n.Name, o.Name))
}

// Problems returns the problems of now, in order.
func (r *Replica) Problems() []Notice {
	list := make([]Notice, 0, len(r.named))
	for n := range r.named {
		list = append(list, n)
	}
	slices.SortFunc(list, Notice.compare)
	return list
}

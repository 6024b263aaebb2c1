package replica

import (
	"cmp"
	"slices"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/gossip"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// Ready is what must happen, in this order: the journal is on disk, subscribers
// hear of the changes, the envelopes go out. What others have heard from this peer,
// acknowledgements too, it will know again.
type Ready struct {
	Journal   []crdt.Saved // one transaction; empty without Config.Journal
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
		Journal:   r.journal(),
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

// stampKey is where the image on disk holds the latest stamp: a write made after a
// restart is later than all before it, those included that have been overwritten.
const stampKey = "t"

func (r *Replica) journal() []crdt.Saved {
	list := r.store.Journal()
	if len(list) > 0 {
		list = append(list, crdt.Saved{Key: []byte(stampKey), Value: wire.AppendUint(nil, uint64(r.hlc.Last()))})
	}
	return list
}

// Restore adds an entry of an image on disk, in the order of the keys, before
// anything else is asked of a new replica. Its actor is a new one all the same.
func (r *Replica) Restore(e crdt.Saved) error {
	if string(e.Key) == stampKey {
		in := wire.NewReader(e.Value)
		r.engine.Restored(clock.Timestamp(in.Uint()))
		r.hlc.Observe(r.engine.MaxStamp())
		return in.Err()
	}
	return r.store.Restore(e)
}

// Problem is what can be wrong with a peer.
type Problem uint8

// The problems.
const (
	Clone         Problem = iota + 1 // two peers wrote as one actor
	DuplicateName                    // two live peers have one name
	ClockSkew                        // its clock is too far off the cluster's
	RulesDiffer                      // its rules give keys other kinds
	Filling                          // its store takes four fifths of its limit
	TwoContents                      // a write of it came with two contents
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

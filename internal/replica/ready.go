package replica

import (
	"cmp"
	"iter"
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
	Journal   []byte // one entry of the journal; empty if there is nothing to write, or without Config.Journal
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

// journal returns an entry: the latest stamp, and the entry of the store. With the stamp a write
// after a restart is later than all writes before, even those that a removal made forgotten.
func (r *Replica) journal() []byte {
	entry := r.store.AppendJournal(nil)
	if len(entry) == 0 {
		return nil
	}
	return append(r.entryHead(), entry...)
}

func (r *Replica) entryHead() []byte {
	return wire.AppendUint(wire.AppendArray(nil, 2), uint64(r.hlc.Last()))
}

// Image reads a replica in parts, between which the replica may go on. The entries, and those of
// the journal since NewImage, restore the replica.
type Image struct {
	r   *Replica
	img *crdt.Image
}

// NewImage begins an image of r, right after Ready was taken: the contexts of the image have only dots
// that the journal has by then.
func NewImage(r *Replica) *Image { return &Image{r, crdt.NewImage(r.store)} }

// Next returns the next entry of the image, with up to n records, and nil after the last one.
func (m *Image) Next(n int) []byte {
	entry, more := m.img.Next(m.r.entryHead(), n)
	if !more {
		return nil
	}
	return entry
}

// Restore rebuilds the replica from the entries of an image and of a journal, before any other
// call, as crdt.Store.Restore does. The replica still writes as a new actor.
func (r *Replica) Restore(entries iter.Seq2[[]byte, bool]) error {
	var latest clock.Timestamp
	err := r.store.Restore(func(yield func([]byte, bool) bool) {
		for entry, missing := range entries {
			in := wire.NewReader(entry)
			if in.ArrayLen() != 2 {
				in.Fail("entry")
			}
			latest = max(latest, clock.Timestamp(in.Uint()))
			if !yield(in.Raw(), missing) {
				return
			}
		}
	})
	r.engine.Restored(latest)
	r.hlc.Observe(r.engine.MaxStamp())
	return err
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

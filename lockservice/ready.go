package lockservice

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Ready is the only output of a node: the actions that its caller must take. Packets may be
// lost; results may not. The slices belong to the caller.
type Ready struct {
	Packets  []Packet
	Results  []Result
	Persist  *State // the caller writes it to disk, in order, then calls Persisted; nil without Config.Durable
	Warnings []Warning
}

// Packet goes to one peer. It has up to 128 KiB plus one message. Bytes belongs to whoever takes
// the packet from Ready.
type Packet struct {
	To    string
	Bytes []byte
}

// Event is the kind of a Result.
type Event uint8

// The events of a Result.
const (
	Acquired  Event = iota + 1 // the call holds the lock as Inst with Token until End
	Extended                   // the lease lasts until End
	Refused                    // the call failed with Err
	Lost                       // the lease has ended without a release; Err is a *LostError
	Left                       // the release is confirmed, or Err says that it is not
	Inspected                  // Info is the answer
	Surveyed                   // Survey is the answer
	Polled                     // Turnout is the answer
)

// Result reports on a call.
type Result struct {
	ID       uint64
	Event    Event
	Token    uint64
	End      time.Duration // when the lease ends for its holder: a margin to stop in before Deadline
	Deadline time.Duration // until when no other may get the lock; both are times on this node's Mono
	Round    uint64        // set for Extended: the round of the lease that a majority certified; 0 for a round of its bundle
	Inst     Inst          // set for Acquired
	Err      error
	Info     *Info
	Survey   *Survey
	Turnout  *Turnout
}

// surveyed returns what a survey found, or why there was none.
func (r Result) surveyed() (Survey, error) {
	if r.Err != nil {
		return Survey{}, r.Err
	}
	return *r.Survey, nil
}

// Warning says that a peer has another configuration for the same epoch. Its messages are
// refused (R6).
type Warning struct {
	Peer  string
	Epoch uint64
}

// String describes the warning for an operator.
func (w Warning) String() string {
	return fmt.Sprintf("peer %q has other voters or lock limits of epoch %d than this one: its rounds are refused", w.Peer, w.Epoch)
}

// outbox collects the messages for one peer.
type outbox struct {
	body  []byte
	count int
	full  []Packet
}

// send queues a message for a peer, or for this node itself.
func (n *Node) send(to string, m Message) {
	if to == n.cfg.Self {
		m.Epoch, m.Hash = cmp.Or(m.Epoch, n.voters.Epoch), n.voters.hash
		n.local = append(n.local, m)
		return
	}
	o := n.out[to]
	if o == nil {
		o = &outbox{}
		n.out[to] = o
	}
	if o.count == 0 && len(o.full) == 0 {
		n.addressed = append(n.addressed, to)
	}
	o.body = appendMessage(o.body, &m)
	if o.count++; len(o.body) >= splitBytes || o.count == maxPacketMessages {
		o.seal(to, n.voters)
	}
}

// seal closes the packet that is being filled for a peer.
func (o *outbox) seal(to string, v *electorate) {
	b := make([]byte, 0, len(o.body)+32)
	b = appendHeader(b, v.Epoch, v.hash, o.count)
	o.full = append(o.full, Packet{to, append(b, o.body...)})
	o.body, o.count = o.body[:0], 0
}

func (n *Node) report(r Result) { n.results = append(n.results, r) }

// Ready returns everything that has come up since the last call.
func (n *Node) Ready(t Time) Ready {
	rd := Ready{Results: n.results, Warnings: n.warn}
	n.results, n.warn = nil, nil
	slices.Sort(n.addressed)
	for _, to := range n.addressed {
		o := n.out[to]
		if o.count > 0 {
			o.seal(to, n.voters)
		}
		rd.Packets = append(rd.Packets, o.full...)
		clear(o.full)
		o.full = o.full[:0]
	}
	n.addressed = n.addressed[:0]
	rd.Persist = n.acceptor.reserve(t)
	return rd
}

// Stats returns the counters since New.
func (n *Node) Stats() Stats { return n.stats }

// Quarantine returns how long the quarantine of this voter still lasts, 0 if this peer is no voter.
func (n *Node) Quarantine(t Time) time.Duration {
	if n.voters.index(n.cfg.Self) < 0 {
		return 0
	}
	return max(n.acceptor.quarantineUntil-t.Mono, 0)
}

// Fresh returns for how long this voter is still fresh, its quarantine included: leases that run
// may be missing from its records. It returns 0 if this peer is no voter.
func (n *Node) Fresh(t Time) time.Duration {
	if n.voters.index(n.cfg.Self) < 0 {
		return 0
	}
	return n.acceptor.fresh(t)
}

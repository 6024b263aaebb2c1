package gossip

import (
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

const (
	ackPause = 40 * time.Millisecond // pause between the first two requests; each pause is twice as long as the one before
	ackTries = 8                     // requests to one peer, over about five seconds
)

// acks learn which writes each peer has, and acknowledge the writes of others.
type acks struct {
	*shared
	*pushes
	ackTarget    uint64    // own writes up to this number are to be acknowledged
	ackRequestAt time.Time // when the next requests are sent; zero for never
	ackRequests  int       // requests for ackTarget so far
	epoch        uint64    // see AckEpoch
	owed         []*peer   // peers with owedAcks
	claimants    []*peer   // peers with a claimed context
}

// peerAcks is what a peer is known to have seen.
type peerAcks struct {
	acked       *clock.CausalContext    // the latest context of the peer that this peer's context covers
	claimed     *clock.CausalContext    // a later context of the peer, which this peer's does not cover yet; nil if there is none
	ackedTime   uint64                  // what the peer's clock had shown by then, in Unix milliseconds
	claimedTime uint64                  // the same for the claimed context
	ackedOwn    uint64                  // own writes up to this number are acknowledged
	owedAcks    map[clock.Actor]owedAck // heads that the peer has announced, for each actor the highest
}

// RequestAcks asks every peer to acknowledge the own writes up to the latest. The request may be
// lost, so a caller that still waits after some seconds calls it again.
func (s *acks) RequestAcks(now time.Time) {
	if last := s.store.Last(); last > s.ackTarget || s.ackRequestAt.IsZero() {
		s.ackTarget = last
		s.ackRequests = 0
		s.ackRequestAt = now
		if !s.flushAt.IsZero() {
			s.flushAt = now // the peers need the writes before they can acknowledge them
		}
	}
}

// sendAckRequests sends the head of the own writes to peers that have not acknowledged it.
func (s *acks) sendAckRequests(now time.Time) {
	if !due(s.ackRequestAt, now) {
		return
	}
	waiting := false
	for _, p := range s.living {
		if p.ackedOwn < s.ackTarget {
			waiting = true
			w := s.begin()
			w.heads([]head{{s.cfg.Self, s.ackTarget}}, true)
			s.send(now, p, Urgent, s.finish(w, 0, false))
		}
	}
	s.ackRequestAt = time.Time{}
	if s.ackRequests++; waiting && s.ackRequests < ackTries {
		s.ackRequestAt = now.Add(ackPause << (s.ackRequests - 1))
	}
}

// owedAck is an acknowledgement that a peer gets when this one has all dots up to seq.
type owedAck struct {
	seq    uint64
	urgent bool // the peer's caller waits for it, so it goes on the stream
}

// heads receives heads. It notes gaps below them, and owes the sender an acknowledgement of each:
// on the stream if the sender waits for it, else in a packet.
func (in *incoming) heads(r *wire.Reader, n int) {
	wantAck := r.Bool()
	for i := 0; i < (n-1)/2 && r.Err() == nil; i++ {
		a, seq := in.actor(r), r.Uint()
		if r.Err() != nil || seq > clock.MaxSeq {
			return
		}
		if a == in.e.cfg.Self {
			if seq > in.e.store.Last() {
				in.e.cloned = true
			}
			continue
		}
		in.noteOwnHead(a, seq)
		if !in.e.noteGap(in.now, in.from, a, seq, false) {
			in.e.stats.HeadsIgnored++
			continue
		}
		if !wantAck {
			in.e.expedite(in.now, in.from, a)
		}
		if in.from != nil {
			if in.from.owedAcks == nil {
				in.from.owedAcks = make(map[clock.Actor]owedAck)
			}
			if len(in.from.owedAcks) == 0 {
				in.e.owed = append(in.e.owed, in.from)
			}
			w := in.from.owedAcks[a]
			in.from.owedAcks[a] = owedAck{max(w.seq, seq), w.urgent || wantAck}
		}
	}
}

// sendOwedAcks sends the acknowledgements of what this peer has by now.
func (s *acks) sendOwedAcks(now time.Time) {
	wanting := s.owed
	s.owed = s.owed[:0]
	for _, p := range wanting {
		if s.byActor[p.Actor] != p {
			clear(p.owedAcks)
			continue
		}
		var met []head
		class := Packet
		for a, w := range p.owedAcks { // sorted below
			if seen := s.store.Context().Span(a); seen != nil && seen.Base >= w.seq {
				met = append(met, head{a, seen.Base})
				delete(p.owedAcks, a)
				if w.urgent {
					class = Urgent
				}
			}
		}
		if len(p.owedAcks) > 0 {
			s.owed = append(s.owed, p)
		}
		if len(met) == 0 {
			continue
		}
		slices.SortFunc(met, func(x, y head) int { return x.actor.Compare(y.actor) })
		w := s.begin()
		w.section(secAcks, 2*len(met))
		for _, h := range met {
			w.actor(h.actor)
			w.uint(h.seq)
		}
		s.send(now, p, class, s.finish(w, 0, false))
	}
}

// acks receives acknowledgements.
func (in *incoming) acks(r *wire.Reader, n int) {
	for i := 0; i < n/2 && r.Err() == nil; i++ {
		a, seq := in.actor(r), r.Uint()
		if r.Err() != nil || in.from == nil {
			return
		}
		in.from.headAcked(in.now, a, seq)
		if a == in.e.cfg.Self && seq > in.from.ackedOwn {
			in.from.ackedOwn = min(seq, in.e.store.Last())
			in.e.acks.epoch++
		}
	}
}

// Replicas returns the number of other peers that have acknowledged the own writes up to seq, and
// the names of the peers that are up and have not.
func (s *acks) Replicas(seq uint64) (n int, missing []string) {
	for _, p := range s.peers {
		switch {
		case p.ackedOwn >= seq:
			n++
		case p.Alive:
			missing = append(missing, p.Name)
		}
	}
	return n, missing
}

// AckedBy returns the names of the peers that are up and have acknowledged the own writes up to seq.
func (s *acks) AckedBy(seq uint64) (names []string) {
	for _, p := range s.peers {
		if p.Alive && p.ackedOwn >= seq {
			names = append(names, p.Name)
		}
	}
	return names
}

// AckEpoch returns a number that changes whenever a peer acknowledges further own writes.
func (s *acks) AckEpoch() uint64 { return s.epoch }

// claim records the context that p says it has. The clock of p had shown the time shown by then, in Unix
// milliseconds. The engine keeps seen and does not change it.
func (s *acks) claim(p *peer, seen *clock.CausalContext, shown uint64) {
	if p.claimed == nil {
		s.claimants = append(s.claimants, p)
	}
	p.claimed, p.claimedTime = seen, shown
	s.promote(p)
}

// promote makes p's claimed context its acknowledged one, once this peer has seen all of it. Only
// then has this peer everything that could still depend on a dot which both have seen (I4).
func (s *acks) promote(p *peer) {
	// A snapshot of the own context needs no comparison: contexts only grow.
	if p.claimed == nil || p.claimed != s.snap && !s.store.Context().Covers(p.claimed) {
		return
	}
	p.acked, p.claimed = p.claimed, nil
	p.ackedTime = max(p.ackedTime, p.claimedTime)
	if own := p.acked.Span(s.cfg.Self); own != nil && own.Base > p.ackedOwn {
		p.ackedOwn = own.Base
		s.epoch++
	}
}

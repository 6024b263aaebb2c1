package gossip

import (
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

const (
	ackRetry = 20 * time.Millisecond
	ackTries = 8 // about five seconds; whoever still waits asks again
)

// acks learn and tell which writes a peer has.
type acks struct {
	*shared
	*pushes
	ackTarget    uint64 // own writes somebody waits for
	ackRequestAt time.Time
	ackRequests  int
	epoch        uint64
	owed         []*peer // who want to know when this peer has something
	claimants    []*peer // whose claims are not promoted yet
}

// peerAcks is what a peer is known to have.
type peerAcks struct {
	acked    *clock.CausalContext    // what it has seen, and this peer too
	claimed  *clock.CausalContext    // what it said it has seen
	ackedOwn uint64                  // own writes it has acknowledged
	owedAcks map[clock.Actor]owedAck // what it waits for this peer to have
}

// RequestAcks asks every peer to say when it has all of this peer's writes.
func (s *acks) RequestAcks(now time.Time) {
	if last := s.store.Last(); last > s.ackTarget || s.ackRequestAt.IsZero() {
		s.ackTarget = last
		s.ackRequests = 0
		s.ackRequestAt = now
		if !s.flushAt.IsZero() {
			s.flushAt = now // first what they are to acknowledge
		}
	}
}

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
		s.ackRequestAt = now.Add(ackRetry << s.ackRequests)
	}
}

// want is what somebody waits for this peer to have, in a hurry or not.
type owedAck struct {
	seq    uint64
	urgent bool
}

// heads learns where other actors are, and remembers to say when this peer is there
// too: to who waits for that on its stream, to who only announced it by a packet.
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

// grantAcks answers those whose wants are met.
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

// Replicas returns how many other peers have acknowledged this peer's write seq
// and all before it, and the names of those that are up and have not.
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

// AckedBy returns the names of the peers that are up and have acknowledged this
// peer's write seq and all before it.
func (s *acks) AckedBy(seq uint64) (names []string) {
	for _, p := range s.peers {
		if p.Alive && p.ackedOwn >= seq {
			names = append(names, p.Name)
		}
	}
	return names
}

// AckEpoch changes whenever an acknowledgement of this peer's writes arrives.
func (s *acks) AckEpoch() uint64 { return s.epoch }

// claim notes what a peer says it has seen.
func (s *acks) claim(p *peer, seen *clock.CausalContext) {
	if p.claimed == nil {
		s.claimants = append(s.claimants, p)
	}
	p.claimed = seen
	s.promote(p)
}

// promote takes over what a peer said it has seen, once this peer has seen it
// too: only then is what both have seen safe to call stable.
func (s *acks) promote(p *peer) {
	if p.claimed == nil || p.claimed != s.snap && !s.store.Context().Covers(p.claimed) { // what was seen stays seen
		return
	}
	p.acked, p.claimed = p.claimed, nil
	if own := p.acked.Span(s.cfg.Self); own != nil && own.Base > p.ackedOwn {
		p.ackedOwn = own.Base
		s.epoch++
	}
}

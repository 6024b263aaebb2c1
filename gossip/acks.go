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

// peerAcks is what a peer is known to have.
type peerAcks struct {
	acked    *clock.CausalContext // what it has seen, and this peer too
	claimed  *clock.CausalContext // what it said it has seen
	ackedOwn uint64               // own writes it has acknowledged
	wants    map[clock.Actor]want // what it waits for this peer to have
}

// RequestAcks asks every peer to say when it has all of this peer's writes.
func (e *Engine) RequestAcks(now time.Time) {
	if last := e.store.Last(); last > e.ackTarget || e.ackAt.IsZero() {
		e.ackTarget = last
		e.ackTries = 0
		e.ackAt = now
		if !e.flushAt.IsZero() {
			e.flushAt = now // first what they are to acknowledge
		}
	}
}

func (e *Engine) chaseAcks(now time.Time) {
	if !due(e.ackAt, now) {
		return
	}
	waiting := false
	for _, p := range e.living {
		if p.ackedOwn < e.ackTarget {
			waiting = true
			w := e.begin()
			w.heads([]head{{e.cfg.Self, e.ackTarget}}, true)
			e.send(now, p, Urgent, e.finish(w, 0, false))
		}
	}
	e.ackAt = time.Time{}
	if e.ackTries++; waiting && e.ackTries < ackTries {
		e.ackAt = now.Add(ackRetry << e.ackTries)
	}
}

// want is what somebody waits for this peer to have, in a hurry or not.
type want struct {
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
		in.says(a, seq)
		if !in.e.noteGap(in.now, in.from, a, seq, false) {
			in.e.stats.HeadsIgnored++
			continue
		}
		if !wantAck {
			in.e.hurry(in.now, in.from, a)
		}
		if in.from != nil {
			if in.from.wants == nil {
				in.from.wants = make(map[clock.Actor]want)
			}
			if len(in.from.wants) == 0 {
				in.e.wanting = append(in.e.wanting, in.from)
			}
			w := in.from.wants[a]
			in.from.wants[a] = want{max(w.seq, seq), w.urgent || wantAck}
		}
	}
}

// grantAcks answers those whose wants are met.
func (e *Engine) grantAcks(now time.Time) {
	wanting := e.wanting
	e.wanting = e.wanting[:0]
	for _, p := range wanting {
		if e.byActor[p.Actor] != p {
			clear(p.wants)
			continue
		}
		var met []head
		class := Packet
		for a, w := range p.wants { // sorted below
			if s := e.store.Context().Span(a); s != nil && s.Base >= w.seq {
				met = append(met, head{a, s.Base})
				delete(p.wants, a)
				if w.urgent {
					class = Urgent
				}
			}
		}
		if len(p.wants) > 0 {
			e.wanting = append(e.wanting, p)
		}
		if len(met) == 0 {
			continue
		}
		slices.SortFunc(met, func(x, y head) int { return x.actor.Compare(y.actor) })
		w := e.begin()
		w.section(secAcks, 2*len(met))
		for _, h := range met {
			w.actor(h.actor)
			w.uint(h.seq)
		}
		e.send(now, p, class, e.finish(w, 0, false))
	}
}

func (in *incoming) acks(r *wire.Reader, n int) {
	for i := 0; i < n/2 && r.Err() == nil; i++ {
		a, seq := in.actor(r), r.Uint()
		if r.Err() != nil || in.from == nil {
			return
		}
		in.from.arrived(in.now, a, seq)
		if a == in.e.cfg.Self && seq > in.from.ackedOwn {
			in.from.ackedOwn = min(seq, in.e.store.Last())
			in.e.ackEpoch++
		}
	}
}

// Replicas returns how many other peers have acknowledged this peer's write seq
// and all before it, and the names of those that are up and have not.
func (e *Engine) Replicas(seq uint64) (n int, missing []string) {
	for _, p := range e.peers {
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
func (e *Engine) AckedBy(seq uint64) (names []string) {
	for _, p := range e.peers {
		if p.Alive && p.ackedOwn >= seq {
			names = append(names, p.Name)
		}
	}
	return names
}

// AckEpoch changes whenever an acknowledgement of this peer's writes arrives.
func (e *Engine) AckEpoch() uint64 { return e.ackEpoch }

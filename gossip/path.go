package gossip

import (
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// Packets are a shortcut, never a condition: where they do not pass, for a firewall, an
// address of another family or a port that is open for TCP alone, streams carry everything.
//
// Whether they pass is found out for each peer and each way. A probe is a packet with a
// number; who gets it says so, on its stream if the probe is a repeated one, so that what
// is lost on the way back tells nothing of the way there. Each peer judges its own packets
// and tells the other, who learns no other way that none come.

const (
	probeEvery  = 10 * time.Second      // while packets pass, and some are sent
	probePace   = 60 * time.Millisecond // that times the peers, if it is longer
	probeWait   = 50 * time.Millisecond // for an answer; twice as long each time until one shows how far peers are
	probeTries  = 4                     // without one, before packets count as blocked
	probeAgain  = 5 * time.Second       // while they do
	probePasses = 3                     // answers in a row, before they count as passing again
)

// Passage says whether packets get through in one direction.
type Passage uint8

// The passages. One is unknown until the first probe was answered, or was not.
const (
	UnknownPassage Passage = iota
	Passes
	Blocked // streams carry everything
)

var passageNames = [...]string{"unknown", "pass", "blocked"}

// String returns unknown, pass or blocked.
func (p Passage) String() string {
	if int(p) < len(passageNames) {
		return passageNames[p]
	}
	return passageNames[UnknownPassage]
}

// path is whether packets get through between this peer and another.
type path struct {
	to, from Passage // from as the other says

	number uint64 // of what was last told about the path
	since  uint64 // of the first probe that is not answered, 0 if none waits
	sent   [probeTries]probe
	tries  int    // probes since then
	judged uint64 // the last one before packets counted as blocked: its answer shows that they do not
	passed int    // answers in a row, while blocked
	rtt    time.Duration
	heard  time.Time // when the last answer came
	at     time.Time // when to probe again, or give up
	told   uint64    // the number of what the other last told
	seen   uint64    // and of its last probe
}

type probe struct {
	number uint64
	at     time.Time
}

// What a section of a path asks for.
const (
	tells         = iota
	asks          // whether it came
	asksOnceAgain // and wants to be told on the stream
)

// doubt probes p, unless that was just done, and reports whether it did: something that
// was sent had no effect.
func (s *shared) doubt(now time.Time, p *peer) bool {
	if t := &p.path; t.to == Blocked || t.since != 0 || now.Sub(t.heard) < probeWait {
		return false
	}
	s.probe(now, p)
	return true
}

// open reports whether packets may carry what has to arrive: not while they are blocked,
// nor where none has ever got through and a probe waits already for twice as long as one
// takes among neighbours. A path that is far opens when its first answer comes.
func (t *path) open() bool {
	return t.to == Passes || t.to == UnknownPassage && (t.since == 0 || t.tries < 2)
}

func (s *shared) probe(now time.Time, p *peer) {
	t := &p.path
	if t.since == 0 {
		t.since, t.tries = t.number+1, 0
	}
	ask, wait := asks, probeWait
	if t.tries++; t.tries > 1 || t.to == Blocked {
		ask = asksOnceAgain
	}
	switch {
	case t.to == Blocked:
		wait = probeAgain
	case s.farthest(t) == 0:
		wait <<= t.tries - 1
	case t.tries == probeTries:
		wait = max(wait, 2*s.farthest(t))
	}
	t.at = now.Add(wait)
	s.await(p, t.at)
	s.stats.Probes++
	s.emit(p, Packet, s.pathFrame(p, ask))
	t.sent[t.tries%probeTries] = probe{t.number, now}
}

// farthest is the round trip to a peer, as far as it is known that of the farthest one.
func (s *shared) farthest(t *path) (rtt time.Duration) {
	if t.rtt > 0 {
		return t.rtt
	}
	for _, p := range s.living {
		rtt = max(rtt, p.path.rtt)
	}
	return rtt
}

// pathFrame tells p which of its probes came last and whether this peer's packets to it
// pass.
func (s *shared) pathFrame(p *peer, ask int) []byte {
	t := &p.path
	t.number++
	w := s.begin()
	w.section(secPath, 4)
	w.uint(t.number)
	w.uint(uint64(ask))
	w.uint(t.seen)
	w.uint(uint64(t.to))
	return s.finish(w, 0, false)
}

// probePaths probes again those that did not answer, and gives them up.
func (s *shared) probePaths(now time.Time) {
	for _, p := range s.awaited {
		t := &p.path
		switch {
		case !p.Alive || !due(t.at, now):
		case t.to == Blocked:
			if t.since != 0 {
				t.passed = 0
				s.send(now, p, Urgent, s.pathFrame(p, tells)) // who did not know this peer yet has not heard it
			}
			s.probe(now, p)
		case t.tries < probeTries:
			s.probe(now, p)
		default:
			s.block(now, p, now.Add(probeAgain))
		}
	}
}

// block has the streams carry everything for p until again, when it is probed, and makes
// good what packets did not.
func (s *shared) block(now time.Time, p *peer, again time.Time) {
	t := &p.path
	t.to, t.passed, t.at, t.judged = Blocked, 0, again, t.number
	if now.Sub(s.blockedAt) >= probeEvery { // at most as often as all are probed anyway: a lossy path may be taken for a blocked one
		s.blockedAt = now
	}
	s.stats.PathsBlocked++
	s.send(now, p, Urgent, s.pathFrame(p, tells))
	s.onBlock(now, p)
	s.await(p, now)
}

// path takes what a peer says of the packets between it and this one.
func (in *incoming) path(r *wire.Reader) {
	e, p := in.e, in.from
	number, ask, seen, passage := r.Uint(), r.Uint(), r.Uint(), Passage(min(r.Uint(), uint64(Blocked)))
	if r.Err() != nil || p == nil || !p.Alive {
		return
	}
	t := &p.path
	if t.since != 0 && seen >= t.since && seen <= t.number {
		e.passed(in.now, p, seen)
	}
	if ask != tells {
		t.seen = max(t.seen, number)
		if passage == UnknownPassage {
			passage = Passes
		}
		if ask == asksOnceAgain {
			e.send(in.now, p, Urgent, e.pathFrame(p, tells))
		}
		if !e.doubt(in.now, p) && ask == asks { // else that tells it too
			e.send(in.now, p, Packet, e.pathFrame(p, tells))
		}
	}
	if number <= t.told { // a stream and packets overtake each other
		return
	}
	worse := passage == Blocked && t.from != Blocked
	t.told, t.from = number, passage
	if worse && t.to != Blocked { // what stops packets one way mostly stops them the other
		e.block(in.now, p, in.now) // if not, that shows in three round trips
	}
}

// passed notes that a probe got to p.
func (s *shared) passed(now time.Time, p *peer, number uint64) {
	t := &p.path
	for _, sent := range t.sent {
		if sent.number == number {
			t.rtt = now.Sub(sent.at)
		}
	}
	if t.to != Blocked && p.headAt.IsZero() && len(p.sent) > 0 { // the announcements ended and were left to the probe
		if now.Sub(p.headsSince) < t.rtt {
			p.headStep, p.headAt = 0, now // it had passed before they began, and says nothing of them
			s.await(p, now)
		} else {
			p.sent = p.sent[:0]
		}
	}
	t.since, t.heard, t.at = 0, now, time.Time{}
	switch {
	case t.to != Blocked:
		t.to = Passes
	case t.passed+1 < probePasses && number > t.judged:
		t.passed++
		t.at = now
		s.await(p, now)
	default:
		t.to = Passes
		s.send(now, p, Urgent, s.pathFrame(p, tells))
	}
}

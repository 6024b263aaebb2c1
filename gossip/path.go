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

	lastNumber      uint64 // of what was last told about the path
	firstUnanswered uint64 // of the first probe that is not answered, 0 if none waits
	probes          [probeTries]probe
	tries           int    // probes since then
	blockedNumber   uint64 // the last one before packets counted as blocked: its answer shows that they do not
	answersInRow    int    // answers in a row, while blocked
	rtt             time.Duration
	answeredAt      time.Time // when the last answer came
	at              time.Time // when to probe again, or give up
	remoteNumber    uint64    // the number of what the other last told
	remoteProbe     uint64    // and of its last probe
}

type probe struct {
	number uint64
	at     time.Time
}

// What a section of a path asks for.
const (
	noReply       = iota
	reply         // whether it came
	replyOnStream // and wants to be told on the stream
)

// doubt probes p, unless that was just done, and reports whether it did: something that
// was sent had no effect.
func (s *shared) probeUnlessRecent(now time.Time, p *peer) bool {
	if t := &p.path; t.to == Blocked || t.firstUnanswered != 0 || now.Sub(t.answeredAt) < probeWait {
		return false
	}
	s.probe(now, p)
	return true
}

// open reports whether packets may carry what has to arrive: not while they are blocked,
// nor where none has ever got through and a probe waits already for twice as long as one
// takes among neighbours. A path that is far opens when its first answer comes.
func (t *path) usable() bool {
	return t.to == Passes || t.to == UnknownPassage && (t.firstUnanswered == 0 || t.tries < 2)
}

func (s *shared) probe(now time.Time, p *peer) {
	t := &p.path
	if t.firstUnanswered == 0 {
		t.firstUnanswered, t.tries = t.lastNumber+1, 0
	}
	ask, wait := reply, probeWait
	if t.tries++; t.tries > 1 || t.to == Blocked {
		ask = replyOnStream
	}
	switch {
	case t.to == Blocked:
		wait = probeAgain
	case s.roundTrip(t) == 0:
		wait <<= t.tries - 1
	case t.tries == probeTries:
		wait = max(wait, 2*s.roundTrip(t))
	}
	t.at = now.Add(wait)
	s.schedule(p, t.at)
	s.stats.Probes++
	s.emit(p, Packet, s.pathFrame(p, ask))
	t.probes[t.tries%probeTries] = probe{t.lastNumber, now}
}

// farthest is the round trip to a peer, as far as it is known that of the farthest one.
func (s *shared) roundTrip(t *path) (rtt time.Duration) {
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
	t.lastNumber++
	w := s.begin()
	w.section(secPath, 4)
	w.uint(t.lastNumber)
	w.uint(uint64(ask))
	w.uint(t.remoteProbe)
	w.uint(uint64(t.to))
	return s.finish(w, 0, false)
}

// probePaths probes again those that did not answer, and gives them up.
func (s *shared) probePaths(now time.Time) {
	for _, p := range s.scheduled {
		t := &p.path
		switch {
		case !p.Alive || !due(t.at, now):
		case t.to == Blocked:
			if t.firstUnanswered != 0 {
				t.answersInRow = 0
				s.send(now, p, Urgent, s.pathFrame(p, noReply)) // who did not know this peer yet has not heard it
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
	t.to, t.answersInRow, t.at, t.blockedNumber = Blocked, 0, again, t.lastNumber
	if now.Sub(s.blockedAt) >= probeEvery { // at most as often as all are probed anyway: a lossy path may be taken for a blocked one
		s.blockedAt = now
	}
	s.stats.PathsBlocked++
	s.send(now, p, Urgent, s.pathFrame(p, noReply))
	s.onBlock(now, p)
	s.schedule(p, now)
}

// path takes what a peer says of the packets between it and this one.
func (in *incoming) path(r *wire.Reader) {
	e, p := in.e, in.from
	number, ask, seen, passage := r.Uint(), r.Uint(), r.Uint(), Passage(min(r.Uint(), uint64(Blocked)))
	if r.Err() != nil || p == nil || !p.Alive {
		return
	}
	t := &p.path
	if t.firstUnanswered != 0 && seen >= t.firstUnanswered && seen <= t.lastNumber {
		e.probeAnswered(in.now, p, seen)
	}
	if ask != noReply {
		t.remoteProbe = max(t.remoteProbe, number)
		if passage == UnknownPassage {
			passage = Passes
		}
		if ask == replyOnStream {
			e.send(in.now, p, Urgent, e.pathFrame(p, noReply))
		}
		if !e.probeUnlessRecent(in.now, p) && ask == reply { // else that tells it too
			e.send(in.now, p, Packet, e.pathFrame(p, noReply))
		}
	}
	if number <= t.remoteNumber { // a stream and packets overtake each other
		return
	}
	worse := passage == Blocked && t.from != Blocked
	t.remoteNumber, t.from = number, passage
	if worse && t.to != Blocked { // what stops packets one way mostly stops them the other
		e.block(in.now, p, in.now) // if not, that shows in three round trips
	}
}

// passed notes that a probe got to p.
func (s *shared) probeAnswered(now time.Time, p *peer, number uint64) {
	t := &p.path
	for _, sent := range t.probes {
		if sent.number == number {
			t.rtt = now.Sub(sent.at)
		}
	}
	if t.to != Blocked && p.headAt.IsZero() && len(p.unacked) > 0 { // the announcements ended and were left to the probe
		if now.Sub(p.headsSince) < t.rtt {
			p.headsSent, p.headAt = 0, now // it had passed before they began, and says nothing of them
			s.schedule(p, now)
		} else {
			p.unacked = p.unacked[:0]
		}
	}
	t.firstUnanswered, t.answeredAt, t.at = 0, now, time.Time{}
	switch {
	case t.to != Blocked:
		t.to = Passes
	case t.answersInRow+1 < probePasses && number > t.blockedNumber:
		t.answersInRow++
		t.at = now
		s.schedule(p, now)
	default:
		t.to = Passes
		s.send(now, p, Urgent, s.pathFrame(p, noReply))
	}
}

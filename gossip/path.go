package gossip

import (
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// Packets are an optimisation. Where they do not get through, because of a firewall, an address
// of another family, or a port that is open for TCP alone, streams carry everything (I5).
//
// Each peer finds out by probes whether its packets reach another peer, and tells that peer the
// result, which has no other way to learn that no packets come. A probe is a packet with a
// number. The receiver of a first probe answers by packet, and of a repeated probe by stream:
// then a lost answer does not look like a lost probe (docs/decisions/0023).

const (
	probeEvery  = 10 * time.Second      // age of the last answer at which a packet that is sent is followed by a probe
	probePace   = 60 * time.Millisecond // the same for each living peer, if that comes to more: bounds the rate of all probes
	probeWait   = 50 * time.Millisecond // time for the first answer of a peer; it doubles with each probe until a round trip is known
	probeTries  = 4                     // probes without an answer after which packets count as blocked
	probeAgain  = 5 * time.Second       // pause between probes while packets count as blocked
	probePasses = 3                     // answers in a row after which they count as passing again
)

// Passage says whether packets get through in one direction.
type Passage uint8

// The passages. A passage is unknown until the first probe was answered or given up.
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

// path is what is known of packets between this peer and another.
type path struct {
	to   Passage // whether packets reach the other peer, as the probes show
	from Passage // whether its packets reach this peer, as it says

	lastNumber      uint64            // number of the last path section sent
	firstUnanswered uint64            // number of the first probe since the last answer, 0 if there is none
	probes          [probeTries]probe // the last probes
	tries           int               // number of probes since the last answer
	blockedNumber   uint64            // lastNumber when packets were last found blocked: a late answer up to it shows that they were only slow
	answersInRow    int               // answers in a row while blocked
	rtt             time.Duration     // last round trip of a probe, 0 before the first answer
	answeredAt      time.Time         // when the last answer came
	at              time.Time         // when the next probe is sent, or packets are found blocked; zero for never
	remoteNumber    uint64            // number of the last path section received
	remoteProbe     uint64            // number of the last probe received
}

// probe is a probe that was sent.
type probe struct {
	number uint64
	at     time.Time
}

// The kinds of reply that a path section asks for.
const (
	noReply       = iota
	reply         // by packet or stream
	replyOnStream // by stream
)

// probeUnlessRecent sends a probe to p, and reports whether it did. It does not if packets are blocked, if
// a probe is unanswered, or if the last answer just came. Callers suspect that packets are lost.
func (s *shared) probeUnlessRecent(now time.Time, p *peer) bool {
	if t := &p.path; t.to == Blocked || t.firstUnanswered != 0 || now.Sub(t.answeredAt) < probeWait {
		return false
	}
	s.probe(now, p)
	return true
}

// usable reports whether packets may carry frames that have to arrive. They may not while they are
// blocked, nor once a second probe has been sent where none was ever answered. To a
// distant peer packets become usable with the first answer.
func (t *path) usable() bool {
	return t.to == Passes || t.to == UnknownPassage && (t.firstUnanswered == 0 || t.tries < 2)
}

// probe sends p a probe and sets when the next one is due.
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

// roundTrip returns the round trip of a path. If it is not known, it returns that of the most distant
// living peer, 0 if none is known.
func (s *shared) roundTrip(t *path) (rtt time.Duration) {
	if t.rtt > 0 {
		return t.rtt
	}
	for _, p := range s.living {
		rtt = max(rtt, p.path.rtt)
	}
	return rtt
}

// pathFrame makes a path section for p: the number of the last probe received from p, and whether
// this peer's packets reach p.
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

// probePaths sends probes that are due. It finds packets blocked where the last of probeTries probes
// was not answered in time.
func (s *shared) probePaths(now time.Time) {
	for _, p := range s.scheduled {
		t := &p.path
		switch {
		case !p.Alive || !due(t.at, now):
		case t.to == Blocked:
			if t.firstUnanswered != 0 {
				t.answersInRow = 0
				s.send(now, p, Urgent, s.pathFrame(p, noReply)) // again: p ignores it before this peer is in its view
			}
			s.probe(now, p)
		case t.tries < probeTries:
			s.probe(now, p)
		default:
			s.block(now, p, now.Add(probeAgain))
		}
	}
}

// block makes streams carry everything for p, until a probe at the given time and later ones are
// answered. It sends again what lost packets may have carried.
func (s *shared) block(now time.Time, p *peer, again time.Time) {
	t := &p.path
	t.to, t.answersInRow, t.at, t.blockedNumber = Blocked, 0, again, t.lastNumber
	if now.Sub(s.blockedAt) >= probeEvery { // a lossy path may be taken for a blocked one, so at most as often as paths are probed anyway
		s.blockedAt = now
	}
	s.stats.PathsBlocked++
	s.send(now, p, Urgent, s.pathFrame(p, noReply))
	s.onBlock(now, p)
	s.schedule(p, now)
}

// path receives a path section: an answer to a probe, a probe, or both.
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
		if !e.probeUnlessRecent(in.now, p) && ask == reply { // a probe of this peer answers too
			e.send(in.now, p, Packet, e.pathFrame(p, noReply))
		}
	}
	if number <= t.remoteNumber { // a later section came first: streams and packets overtake each other
		return
	}
	worse := passage == Blocked && t.from != Blocked
	t.remoteNumber, t.from = number, passage
	if worse && t.to != Blocked { // what stops packets in one direction mostly stops them in the other
		e.block(in.now, p, in.now) // if it does not, probes show it within three round trips
	}
}

// probeAnswered records that the probe with a number has reached p.
func (s *shared) probeAnswered(now time.Time, p *peer, number uint64) {
	t := &p.path
	for _, sent := range t.probes {
		if sent.number == number {
			t.rtt = now.Sub(sent.at)
		}
	}
	if t.to != Blocked && p.headAt.IsZero() && len(p.unacked) > 0 { // all announcements of heads were sent without an acknowledgement
		if now.Sub(p.headsSince) < t.rtt {
			p.headsSent, p.headAt = 0, now // the probe was sent before the announcements, and does not show that they arrived
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

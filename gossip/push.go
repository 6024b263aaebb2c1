package gossip

import (
	"cmp"
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

const (
	frameBytes         = 256 << 10 // a pushed frame's deltas
	sectionDeltas      = wire.MaxSectionDeltas / 2
	packetBurst        = 32                    // packets a peer may get at once
	packetsASecond     = 2000                  // and in the long run; the rest takes the stream
	headDelay          = 5 * time.Millisecond  // after a burst until it is announced
	headInterval       = 10 * time.Millisecond // and again, or one and a half round trips
	headsBeforeBackoff = 7                     // announcements before that grows
	flightInterval     = 100 * time.Millisecond
	initialWindow      = 4 << 20 // bytes
	maxHeads           = 10      // in all; then the digests find it
)

// pushes tell the others what is written here, and down the trees what others wrote.
type pushes struct {
	*shared
	*digests
	targets   map[clock.Actor][]*peer // of each origin, until the view changes
	ranks     []ranked                // see children
	loaded    []*peer                 // those for whom deltas wait
	flushAt   time.Time               // zero: nothing waits
	flights   map[clock.Actor]flight
	flightsAt time.Time
}

// peerPush is what pushes keep of a peer.
type peerPush struct {
	urgent, bulk []crdt.Delta // waiting, in order
	queued       int          // their bytes
	loaded       bool         // the peer is in the list of those for whom something waits
	behind       bool         // its queue overflowed: it must sync
	window       int          // bulk bytes the shell takes now
	tokens       float64      // packets it may get
	tokensAt     time.Time

	unacked    []head // the last of each origin pushed since headStep was 0
	headsSent  int
	headsSince time.Time     // when the first was announced
	ackTime    time.Duration // from that until it said that it is there, about
	headAt     time.Time
}

type head struct {
	actor clock.Actor
	seq   uint64
}

// Push takes local writes. Urgent ones do not wait for the batch interval, nor
// behind others.
func (s *pushes) Push(now time.Time, deltas []crdt.Delta, urgent bool) {
	if len(deltas) == 0 {
		return
	}
	s.stats.Pushed += uint64(len(deltas))
	s.maxStamp = max(s.maxStamp, deltas[len(deltas)-1].Stamp())
	s.enqueue(now, deltas, urgent)
	wait := s.cfg.BatchInterval
	if urgent || wait < 0 {
		wait = 0
	}
	if s.flushAt.IsZero() || now.Add(wait).Before(s.flushAt) {
		s.flushAt = now.Add(wait)
	}
	s.noteChange(now)
	s.noteInFlight(now, deltas[0].Actor(), deltas[0].Seq())
}

// spread queues deltas of one actor for the peers that get them from here.
func (s *pushes) enqueue(now time.Time, deltas []crdt.Delta, urgent bool) {
	targets := s.targetsOf(deltas[0].Actor())
	for _, p := range targets {
		if p.behind {
			continue
		}
		if !p.loaded {
			p.loaded = true
			s.loaded = append(s.loaded, p)
		}
		for _, d := range deltas {
			p.queued += d.Size()
		}
		if urgent {
			p.urgent = append(p.urgent, deltas...)
		} else {
			p.bulk = append(p.bulk, deltas...)
		}
		if p.queued > s.cfg.QueueBytes {
			p.dropQueue()
			p.behind = true
			s.stats.Overflows++
			s.digests.digestAt = earlier(s.digests.digestAt, now)
		}
	}
}

func (p *peer) dropQueue() {
	p.urgent, p.bulk, p.queued = nil, nil, 0
}

// targetsOf returns who gets origin's writes from this peer. In a small cluster
// the origin tells all. In a larger one the members stand in a tree computed from
// the origin and the view, and each tells its children.
func (s *pushes) targetsOf(origin clock.Actor) []*peer {
	if t, ok := s.targets[origin]; ok {
		return t
	}
	var t []*peer
	switch {
	case len(s.living) > s.cfg.Direct:
		t = s.children(origin)
	case origin == s.cfg.Self:
		t = s.living
	}
	s.targets[origin] = t
	return t
}

// children ranks the members by a hash with the origin, the origin first, and
// returns those below this peer in the tree of that order: fanout at each level.
func (s *pushes) children(origin clock.Actor) []*peer {
	seed := stir(0x9e3779b97f4a7c15, origin)
	own := stir(seed, s.cfg.Self)
	at := 0 // the origin's own place is before the others
	list := s.ranks[:0]
	if origin != s.cfg.Self {
		at = 1
		list = append(list, ranked{own, -1})
		for _, a := range s.actors {
			if a != origin && stir(seed, a) < own {
				at++
			}
		}
	}
	first := at * s.cfg.Fanout
	if first > len(s.actors) {
		return nil // most are leaves
	}
	for i, a := range s.actors {
		if a != origin {
			list = append(list, ranked{stir(seed, a), i})
		}
	}
	s.ranks = list
	if first >= len(list) {
		return nil
	}
	last := min(first+s.cfg.Fanout, len(list))
	nth(list, first, ranked.less)
	nth(list[first:], last-first-1, ranked.less)
	slices.SortFunc(list[first:last], func(a, b ranked) int { return cmp.Compare(a.hash, b.hash) })
	t := make([]*peer, 0, last-first)
	for _, r := range list[first:last] {
		if r.peer >= 0 {
			t = append(t, s.living[r.peer])
		}
	}
	return t
}

// ranked is a living peer, -1 for this one, and its place in a tree.
type ranked struct {
	hash uint64
	peer int
}

func (r ranked) less(o ranked) bool { return r.hash < o.hash }

// nth puts at list[n] what would be there if list were sorted: nothing before it is
// greater, nothing after it less (Hoare's selection, 1961).
func nth[T any](list []T, n int, less func(a, b T) bool) {
	for len(list) > 1 {
		pivot := list[len(list)/2]
		i, j := 0, len(list)-1
		for i <= j {
			for less(list[i], pivot) {
				i++
			}
			for less(pivot, list[j]) {
				j--
			}
			if i <= j {
				list[i], list[j] = list[j], list[i]
				i++
				j--
			}
		}
		switch {
		case n <= j:
			list = list[:j+1]
		case n >= i:
			list, n = list[i:], n-i
		default:
			return
		}
	}
}

// mix is a fixed hash of two actors: every peer must compute the same tree.
func mix(a, b clock.Actor) uint64 { return stir(stir(0x9e3779b97f4a7c15, a), b) }

func stir(h uint64, a clock.Actor) uint64 {
	h = (h ^ a.Birth) * 0xbf58476d1ce4e5b9
	h ^= h >> 29
	h = (h ^ a.Rand) * 0xbf58476d1ce4e5b9
	return h ^ h>>29
}

// Flush makes envelopes of everything that waits, as far as windows allow.
func (s *pushes) Flush(now time.Time) { s.flush(now) }

// Pending returns how many deltas wait for peers, and how many bytes.
func (s *pushes) Pending() (deltas, bytes int) {
	for _, p := range s.loaded {
		deltas += len(p.urgent) + len(p.bulk)
		bytes += p.queued
	}
	return deltas, bytes
}

func (s *pushes) flush(now time.Time) {
	s.flushAt = time.Time{}
	if len(s.peers) > 0 {
		s.stats.Flushes++
	}
	slices.SortFunc(s.loaded, func(a, b *peer) int { return a.Actor.Compare(b.Actor) })
	for _, p := range s.loaded {
		for len(p.urgent) > 0 {
			p.urgent = p.urgent[s.sendDeltas(now, p, p.urgent, Urgent):]
		}
		for len(p.bulk) > 0 && p.window > 0 {
			p.bulk = p.bulk[s.sendDeltas(now, p, p.bulk, Bulk):]
		}
		if len(p.bulk) == 0 && len(p.urgent) == 0 {
			p.dropQueue()
		}
	}
	s.unload()
}

// unload forgets of whom nothing waits.
func (s *pushes) unload() {
	s.loaded = slices.DeleteFunc(s.loaded, func(p *peer) bool {
		p.loaded = s.byActor[p.Actor] == p && len(p.urgent)+len(p.bulk) > 0
		return !p.loaded
	})
}

// sendDeltas makes one frame from the front of queue and returns how many deltas
// it took. A delta that a later one of its section supersedes goes as a void.
func (s *pushes) sendDeltas(now time.Time, p *peer, queue []crdt.Delta, class Class) int {
	w := s.begin()
	taken, bytes, live := 0, 0, 0
	for taken < len(queue) && taken < sectionDeltas && bytes < frameBytes {
		// A section is a run of consecutive dots of one actor.
		from := taken
		a, next := queue[from].Actor(), queue[from].Seq()
		for taken < len(queue) && taken < sectionDeltas && bytes < frameBytes &&
			queue[taken].Seq() == next && queue[taken].Actor() == a {
			if queue[taken].Live() {
				bytes += queue[taken].Encoded()
			}
			taken++
			next++
		}
		for _, d := range queue[from:taken] {
			if !d.Void(next - 1) {
				live++
			}
		}
		w.deltas(s.store, secDeltas, a, queue[from].Seq(), next-1, queue[from:taken])
		p.noteUnacked(a, next-1)
	}
	s.stats.VoidsSent += uint64(taken - live)
	s.stats.DeltasSent += uint64(taken)
	frame := s.finish(w, live, false)
	if class == Bulk {
		if len(frame) <= wire.MaxPacketBytes && p.path.usable() && p.takeToken(now) {
			class = Packet
		} else {
			p.window -= len(frame)
		}
	}
	for _, d := range queue[:taken] {
		p.queued -= d.Size()
	}
	p.headsSent, p.headAt = 0, now.Add(headDelay)
	if class != Packet {
		p.headAt = p.headAt.Add(s.cfg.Repair) // a stream is slower, and loses nothing
	}
	s.schedule(p, p.headAt)
	s.send(now, p, class, frame)
	return taken
}

// takeToken reports whether another packet may go to p now.
func (p *peer) takeToken(now time.Time) bool {
	if !p.tokensAt.IsZero() {
		p.tokens = min(packetBurst, p.tokens+now.Sub(p.tokensAt).Seconds()*packetsASecond)
	}
	p.tokensAt = now
	if p.tokens < 1 {
		return false
	}
	p.tokens--
	return true
}

func (p *peer) noteUnacked(a clock.Actor, seq uint64) {
	for i := range p.unacked {
		if p.unacked[i].actor == a {
			p.unacked[i].seq = max(p.unacked[i].seq, seq)
			return
		}
	}
	p.unacked = append(p.unacked, head{a, seq})
}

// announceHeads tells the receivers of a burst where it ended, until they say that
// they are there too: the loss of its last frames leaves no hole to notice.
func (s *pushes) announceHeads(now time.Time) {
	for _, p := range s.scheduled {
		if !p.Alive || !due(p.headAt, now) {
			continue
		}
		w := s.begin()
		if p.headsSent == 0 {
			p.headsSince = now
		}
		w.heads(p.unacked, false)
		s.send(now, p, Packet, s.finish(w, 0, false))
		if p.headsSent++; p.headsSent > 2 {
			s.probeUnlessRecent(now, p)
		}
		if p.headsSent < maxHeads {
			p.headAt = now.Add(max(headInterval, p.ackTime+p.ackTime/2) << max(p.headsSent-headsBeforeBackoff+1, 0))
			continue
		}
		p.headAt = time.Time{}
		if p.path.firstUnanswered == 0 { // else they are announced once more, if packets are blocked
			p.unacked = p.unacked[:0]
		}
	}
}

// arrived ends the announcements of what p has of a.
func (p *peer) headAcked(now time.Time, a clock.Actor, seq uint64) {
	if p.headsSent > 0 && len(p.unacked) > 0 {
		took := now.Sub(p.headsSince)
		if p.headsSent > 1 {
			took /= 2 // which one was answered cannot be told: not the first, if some were lost
		}
		if p.headsSent == 1 || p.ackTime == 0 || took < p.ackTime {
			p.ackTime = took
		}
	}
	p.unacked = slices.DeleteFunc(p.unacked, func(h head) bool { return h.actor == a && h.seq <= seq })
	if len(p.unacked) == 0 {
		p.headAt = time.Time{}
	}
}

// Window tells how many more bulk bytes the shell takes for a peer now. What does
// not fit waits here, where newer writes replace older ones.
func (s *pushes) Window(to clock.Actor, bytes int) {
	if p := s.byActor[to]; p != nil {
		if p.window <= 0 && bytes > 0 && len(p.bulk) > 0 {
			s.flushAt = earlier(s.flushAt, time.Unix(0, 1)) // at the next tick
		}
		p.window = bytes
	}
}

// spreadJoined passes new deltas on, if this peer has children for their origin.
func (s *pushes) forward(now time.Time, res crdt.SectionResult) {
	if res.Actor == s.cfg.Self || len(s.targetsOf(res.Actor)) == 0 {
		return
	}
	s.enqueue(now, slices.Clone(res.Joined), false)
	s.flushAt = earlier(s.flushAt, now)
}

// tells reports whether this peer tells p what a writes.
func (s *pushes) pushesTo(a clock.Actor, p *peer) bool {
	for _, t := range s.targetsOf(a) {
		if t == p {
			return true
		}
	}
	return false
}

// mark remembers how far an actor was, for telling what may still be under way.
type flight struct{ landed, recent uint64 }

// unsettle notes that a's dots from seq on are new.
func (s *pushes) noteInFlight(now time.Time, a clock.Actor, seq uint64) {
	if _, ok := s.flights[a]; !ok {
		s.flights[a] = flight{landed: seq - 1, recent: seq - 1}
	}
	s.flightsAt = earlier(s.flightsAt, now.Add(flightInterval))
}

// rotateMarks lets dots seen before the last interval count as settled.
func (s *pushes) ageFlights(now time.Time) {
	s.flightsAt = time.Time{}
	busy := false
	for a, m := range s.flights { // each for itself: no order
		head := m.recent
		if s := s.store.Context().Span(a); s != nil {
			head = s.Head()
		}
		if m.landed == head && m.recent == head {
			delete(s.flights, a)
			continue
		}
		busy = true
		s.flights[a] = flight{landed: m.recent, recent: head}
	}
	if busy {
		s.flightsAt = now.Add(flightInterval)
	}
}

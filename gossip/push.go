package gossip

import (
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

const (
	frameBytes         = 256 << 10                 // bytes of deltas after which a pushed frame is complete
	sectionDeltas      = wire.MaxSectionDeltas / 2 // greatest number of deltas of a section that is sent
	packetBurst        = 32                        // packets of deltas that may go to a peer at once
	packetsASecond     = 2000                      // packets of deltas that may go to a peer in the long run; the stream carries the rest
	headDelay          = 5 * time.Millisecond      // pause between a burst and the announcement of its heads
	headInterval       = 10 * time.Millisecond     // least pause between announcements; one and a half round trips if that is longer
	headsBeforeBackoff = 7                         // announcements after which each pause is twice as long as the one before
	maxHeads           = 10                        // announcements of one burst; a digest finds what all of them missed
	flightInterval     = 100 * time.Millisecond    // a dot is in flight until two multiples of it have passed
	initialWindow      = 4 << 20                   // bytes of bulk that a peer takes before its first Window
)

// pushes send local writes to the other peers, and forward the writes of others down the tree.
type pushes struct {
	*shared
	*digests
	targets   map[clock.Actor][]*peer // for each origin, the peers that get its writes from here; cleared when the view changes
	ranks     []ranked                // memory that children reuses
	loaded    []*peer                 // peers for whom deltas are queued
	flushAt   time.Time               // when queues are flushed next; zero if all are empty
	flights   map[clock.Actor]flight  // actors with dots in flight
	flightsAt time.Time               // when flights are aged next; zero for never
}

// peerPush is the state that pushes keep for each peer.
type peerPush struct {
	urgent, bulk []crdt.Delta // queued deltas, in the order of their arrival
	queued       int          // bytes of both queues
	loaded       bool         // the peer is in pushes.loaded
	behind       bool         // the queue overflowed, so the peer gets nothing until it has synced
	window       int          // bytes of bulk that the owner takes now
	tokens       float64      // token bucket: packets of deltas that may be sent now
	tokensAt     time.Time    // when tokens was computed

	unacked    []head        // heads of the deltas that were pushed to the peer and are not acknowledged
	headsSent  int           // announcements since the last push
	headsSince time.Time     // when the first of these announcements was sent
	ackTime    time.Duration // estimated time from an announcement to its acknowledgement; 0 before the first
	headAt     time.Time     // when unacked is announced next; zero for never
}

// head is the highest sequence number of one actor, as a peer has seen or sent it.
type head struct {
	actor clock.Actor
	seq   uint64
}

// Push queues local writes of one actor for the other peers, in the order of their dots. They
// leave when the batch interval ends. Urgent writes leave at the next Tick or Flush, before
// all that are not urgent.
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

// enqueue queues deltas of one actor for the peers that get its writes from this peer. If the queue
// for a peer exceeds Config.QueueBytes, enqueue drops it, and a random peer gets a digest at the next
// Tick. The peer whose queue was dropped gets no pushes until it has synced with this one.
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

// dropQueue empties the queues of p and frees their memory.
func (p *peer) dropQueue() {
	p.urgent, p.bulk, p.queued = nil, nil, 0
}

// Flush makes envelopes of all queued deltas, as far as the windows allow.
func (s *pushes) Flush(now time.Time) { s.flush(now) }

// Pending returns how many deltas are queued for all peers together, and their bytes.
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

// unload removes from loaded the peers with empty queues, and those that left.
func (s *pushes) unload() {
	s.loaded = slices.DeleteFunc(s.loaded, func(p *peer) bool {
		p.loaded = s.byActor[p.Actor] == p && len(p.urgent)+len(p.bulk) > 0
		return !p.loaded
	})
}

// sendDeltas sends one frame with deltas from the front of queue, and returns how many it took. A
// delta that a later one of its section supersedes is sent as a void.
func (s *pushes) sendDeltas(now time.Time, p *peer, queue []crdt.Delta, class Class) int {
	w := s.begin()
	taken, bytes, live := 0, 0, 0
	for taken < len(queue) && taken < sectionDeltas && bytes < frameBytes {
		// A section holds consecutive dots of one actor.
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
		p.headAt = p.headAt.Add(s.cfg.Repair) // a stream is slower than packets, and rarely loses a frame
	}
	s.schedule(p, p.headAt)
	s.send(now, p, class, frame)
	return taken
}

// takeToken reports whether another packet of deltas may go to p now, and counts it.
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

// noteUnacked records that a's dots up to seq were pushed to p.
func (p *peer) noteUnacked(a clock.Actor, seq uint64) {
	for i := range p.unacked {
		if p.unacked[i].actor == a {
			p.unacked[i].seq = max(p.unacked[i].seq, seq)
			return
		}
	}
	p.unacked = append(p.unacked, head{a, seq})
}

// announceHeads sends the receivers of a burst its heads, until they acknowledge them: the loss
// of the last frames of a burst leaves no gap that a later delta would show.
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
		if p.path.firstUnanswered == 0 { // while a probe is unanswered they are kept: resendPackets announces them again if packets are blocked
			p.unacked = p.unacked[:0]
		}
	}
}

// headAcked ends the announcement of a's head to p, which has all dots of a up to seq.
func (p *peer) headAcked(now time.Time, a clock.Actor, seq uint64) {
	if p.headsSent > 0 && len(p.unacked) > 0 {
		took := now.Sub(p.headsSince)
		if p.headsSent > 1 {
			took /= 2 // the acknowledgement may be for any of the announcements, and half of the time is a guess
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

// Window sets how many bytes of class Bulk the owner takes for a peer now. Deltas beyond it stay in
// the queue, where a newer write makes an older one of the same slot a void.
func (s *pushes) Window(to clock.Actor, bytes int) {
	if p := s.byActor[to]; p != nil {
		if p.window <= 0 && bytes > 0 && len(p.bulk) > 0 {
			s.flushAt = earlier(s.flushAt, time.Unix(0, 1)) // long past, so the next Tick flushes
		}
		p.window = bytes
	}
}

// forward queues deltas that were new here for this peer's children in the tree of their origin.
func (s *pushes) forward(now time.Time, res crdt.SectionResult) {
	if res.Actor == s.cfg.Self || len(s.targetsOf(res.Actor)) == 0 {
		return
	}
	s.enqueue(now, slices.Clone(res.Joined), false)
	s.flushAt = earlier(s.flushAt, now)
}

// flight is what is known of the dots of one actor that may be in flight.
type flight struct {
	landed uint64 // dots up to this number are not in flight any more
	recent uint64 // the head when flights were last aged
}

// noteInFlight records that a's dots from seq on are new to this peer.
func (s *pushes) noteInFlight(now time.Time, a clock.Actor, seq uint64) {
	if _, ok := s.flights[a]; !ok {
		s.flights[a] = flight{landed: seq - 1, recent: seq - 1}
	}
	s.flightsAt = earlier(s.flightsAt, now.Add(flightInterval))
}

// ageFlights ends the flight of dots that this peer had seen before the last interval began.
func (s *pushes) ageFlights(now time.Time) {
	s.flightsAt = time.Time{}
	busy := false
	for a, m := range s.flights { // each actor by itself, so the order does not matter
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

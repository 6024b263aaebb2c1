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
	frameBytes     = 256 << 10 // a pushed frame's deltas
	sectionDeltas  = wire.MaxFrameDeltas / 2
	packetBurst    = 32                    // packets a peer may get at once
	packetsASecond = 2000                  // and in the long run; the rest takes the stream
	headDelay      = 5 * time.Millisecond  // after a burst until it is announced
	headAgain      = 10 * time.Millisecond // and again, or one and a half round trips
	headsEvenly    = 7                     // announcements before that grows
	headsAtMost    = 10                    // in all; then the digests find it
)

// Push takes local writes. Urgent ones do not wait for the batch interval, nor
// behind others.
func (e *Engine) Push(now time.Time, deltas []crdt.Delta, urgent bool) {
	if len(deltas) == 0 {
		return
	}
	e.stats.Pushed += uint64(len(deltas))
	e.maxStamp = max(e.maxStamp, deltas[len(deltas)-1].Stamp())
	e.spread(now, deltas, urgent)
	wait := e.cfg.BatchInterval
	if urgent || wait < 0 {
		wait = 0
	}
	if e.flushAt.IsZero() || now.Add(wait).Before(e.flushAt) {
		e.flushAt = now.Add(wait)
	}
	e.touch(now)
	e.unsettle(now, deltas[0].Actor(), deltas[0].Seq())
}

// spread queues deltas of one actor for the peers that get them from here.
func (e *Engine) spread(now time.Time, deltas []crdt.Delta, urgent bool) {
	targets := e.targetsOf(deltas[0].Actor())
	for _, p := range targets {
		if p.behind {
			continue
		}
		if !p.loaded {
			p.loaded = true
			e.loaded = append(e.loaded, p)
		}
		for _, d := range deltas {
			p.queued += d.Size()
		}
		if urgent {
			p.urgent = append(p.urgent, deltas...)
		} else {
			p.bulk = append(p.bulk, deltas...)
		}
		if p.queued > e.cfg.QueueBytes {
			p.dropQueue()
			p.behind = true
			e.stats.Overflows++
			e.digestAt = earlier(e.digestAt, now)
		}
	}
}

func (p *peer) dropQueue() {
	p.urgent, p.bulk, p.queued = nil, nil, 0
}

// targetsOf returns who gets origin's writes from this peer. In a small cluster
// the origin tells all. In a larger one the members stand in a tree computed from
// the origin and the view, and each tells its children.
func (e *Engine) targetsOf(origin clock.Actor) []*peer {
	if t, ok := e.targets[origin]; ok {
		return t
	}
	var t []*peer
	switch {
	case len(e.living) > e.cfg.Direct:
		t = e.children(origin)
	case origin == e.cfg.Self:
		t = e.living
	}
	e.targets[origin] = t
	return t
}

// children ranks the members by a hash with the origin, the origin first, and
// returns those below this peer in the tree of that order: fanout at each level.
func (e *Engine) children(origin clock.Actor) []*peer {
	seed := stir(0x9e3779b97f4a7c15, origin)
	own := stir(seed, e.cfg.Self)
	at := 0 // the origin's own place is before the others
	list := e.ranks[:0]
	if origin != e.cfg.Self {
		at = 1
		list = append(list, ranked{own, -1})
		for _, a := range e.actors {
			if a != origin && stir(seed, a) < own {
				at++
			}
		}
	}
	first := at * e.cfg.Fanout
	if first > len(e.actors) {
		return nil // most are leaves
	}
	for i, a := range e.actors {
		if a != origin {
			list = append(list, ranked{stir(seed, a), i})
		}
	}
	e.ranks = list
	if first >= len(list) {
		return nil
	}
	last := min(first+e.cfg.Fanout, len(list))
	nth(list, first, ranked.less)
	nth(list[first:], last-first-1, ranked.less)
	slices.SortFunc(list[first:last], func(a, b ranked) int { return cmp.Compare(a.hash, b.hash) })
	t := make([]*peer, 0, last-first)
	for _, r := range list[first:last] {
		if r.peer >= 0 {
			t = append(t, e.living[r.peer])
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
func (e *Engine) Flush(now time.Time) { e.flush(now) }

// Pending returns how many deltas wait for peers, and how many bytes.
func (e *Engine) Pending() (deltas, bytes int) {
	for _, p := range e.loaded {
		deltas += len(p.urgent) + len(p.bulk)
		bytes += p.queued
	}
	return deltas, bytes
}

func (e *Engine) flush(now time.Time) {
	e.flushAt = time.Time{}
	if len(e.peers) > 0 {
		e.stats.Flushes++
	}
	slices.SortFunc(e.loaded, func(a, b *peer) int { return a.Actor.Compare(b.Actor) })
	for _, p := range e.loaded {
		for len(p.urgent) > 0 {
			p.urgent = p.urgent[e.sendDeltas(now, p, p.urgent, Urgent):]
		}
		for len(p.bulk) > 0 && p.window > 0 {
			p.bulk = p.bulk[e.sendDeltas(now, p, p.bulk, Bulk):]
		}
		if len(p.bulk) == 0 && len(p.urgent) == 0 {
			p.dropQueue()
		}
	}
	e.unload()
}

// unload forgets of whom nothing waits.
func (e *Engine) unload() {
	e.loaded = slices.DeleteFunc(e.loaded, func(p *peer) bool {
		p.loaded = e.byActor[p.Actor] == p && len(p.urgent)+len(p.bulk) > 0
		return !p.loaded
	})
}

// sendDeltas makes one frame from the front of queue and returns how many deltas
// it took. A delta that a later one of its section supersedes goes as a void.
func (e *Engine) sendDeltas(now time.Time, p *peer, queue []crdt.Delta, class Class) int {
	w := e.begin()
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
		w.deltas(e.store, secDeltas, a, queue[from].Seq(), next-1, queue[from:taken])
		p.sentHead(a, next-1)
	}
	e.stats.VoidsSent += uint64(taken - live)
	e.stats.DeltasSent += uint64(taken)
	frame := e.finish(w, live, false)
	if class == Bulk {
		if len(frame) <= wire.MaxPacketBytes && p.path.open() && p.takeToken(now) {
			class = Packet
		} else {
			p.window -= len(frame)
		}
	}
	for _, d := range queue[:taken] {
		p.queued -= d.Size()
	}
	p.headStep, p.headAt = 0, now.Add(headDelay)
	if class != Packet {
		p.headAt = p.headAt.Add(e.cfg.Repair) // a stream is slower, and loses nothing
	}
	e.await(p, p.headAt)
	e.send(now, p, class, frame)
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

func (p *peer) sentHead(a clock.Actor, seq uint64) {
	for i := range p.sent {
		if p.sent[i].actor == a {
			p.sent[i].seq = max(p.sent[i].seq, seq)
			return
		}
	}
	p.sent = append(p.sent, head{a, seq})
}

// announceHeads tells the receivers of a burst where it ended, until they say that
// they are there too: the loss of its last frames leaves no hole to notice.
func (e *Engine) announceHeads(now time.Time) {
	for _, p := range e.awaited {
		if !p.Alive || !due(p.headAt, now) {
			continue
		}
		w := e.begin()
		if p.headStep == 0 {
			p.headsSince = now
		}
		w.heads(p.sent, false)
		e.send(now, p, Packet, e.finish(w, 0, false))
		if p.headStep++; p.headStep > 2 {
			e.doubt(now, p)
		}
		if p.headStep < headsAtMost {
			p.headAt = now.Add(max(headAgain, p.ackTime+p.ackTime/2) << max(p.headStep-headsEvenly+1, 0))
			continue
		}
		p.headAt = time.Time{}
		if p.path.since == 0 { // else they are announced once more, if packets are blocked
			p.sent = p.sent[:0]
		}
	}
}

// arrived ends the announcements of what p has of a.
func (p *peer) arrived(now time.Time, a clock.Actor, seq uint64) {
	if p.headStep > 0 && len(p.sent) > 0 {
		took := now.Sub(p.headsSince)
		if p.headStep > 1 {
			took /= 2 // which one was answered cannot be told: not the first, if some were lost
		}
		if p.headStep == 1 || p.ackTime == 0 || took < p.ackTime {
			p.ackTime = took
		}
	}
	p.sent = slices.DeleteFunc(p.sent, func(h head) bool { return h.actor == a && h.seq <= seq })
	if len(p.sent) == 0 {
		p.headAt = time.Time{}
	}
}

// Window tells how many more bulk bytes the shell takes for a peer now. What does
// not fit waits here, where newer writes replace older ones.
func (e *Engine) Window(to clock.Actor, bytes int) {
	if p := e.byActor[to]; p != nil {
		if p.window <= 0 && bytes > 0 && len(p.bulk) > 0 {
			e.flushAt = earlier(e.flushAt, time.Unix(0, 1)) // at the next tick
		}
		p.window = bytes
	}
}

// Lost tells that something for a peer was dropped: they compare notes, once for all
// that is lost until the next digest may go.
func (e *Engine) Lost(now time.Time, to clock.Actor) {
	if p := e.byActor[to]; p != nil && p.Alive {
		e.stats.Lost++
		p.answering = 0
		if p.compareAt.IsZero() {
			p.compareAt = later(now, p.comparedAt.Add(e.cfg.DigestInterval))
			e.await(p, p.compareAt)
		}
	}
}

// compare sends digests to those for whom something was dropped.
func (e *Engine) compare(now time.Time) {
	for _, p := range e.awaited {
		if p.Alive && due(p.compareAt, now) {
			p.compareAt, p.comparedAt = time.Time{}, now
			e.sendDigest(now, p)
		}
	}
}

// send hands out a frame. Where packets do not pass the stream carries it; now and then
// it is asked whether they do, and once more after those to another peer stopped passing:
// what stops them mostly stops more than one.
func (e *Engine) send(now time.Time, p *peer, class Class, frame []byte) {
	if class == Packet && len(frame) > wire.MaxPacketBytes {
		class = Bulk
	}
	if class == Packet && !p.path.open() {
		class = Urgent
	}
	e.emit(p, class, frame)
	heard := p.path.heard
	if class == Packet && (now.Sub(heard) >= max(probeEvery, time.Duration(len(e.living))*probePace) || heard.Before(e.blockedAt)) {
		e.doubt(now, p)
	}
}

func (e *Engine) emit(p *peer, class Class, frame []byte) {
	e.stats.FramesSent++
	e.stats.BytesSent += uint64(len(frame))
	e.out = append(e.out, Envelope{p.Actor, class, frame})
}

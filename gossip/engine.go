package gossip

import (
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// Engine decides which peer is sent which write, and when. It is a state machine without goroutines:
// its owner makes one call at a time, and takes the frames to send from Envelopes.
type Engine struct {
	*shared
	*ClusterClock
	*Beats
	*digests
	*pushes
	*repairs
	*acks
	*stability
	*reconciling
	*syncs
	*witnesses

	cloned bool // see Cloned
}

// New returns an engine over store, which it shares with its owner. Zero fields of cfg get
// their defaults.
func New(cfg Config, store *crdt.Store) *Engine {
	cfg = cfg.withDefaults()
	h := fnv.New32a()
	h.Write([]byte(cfg.Cluster))
	s := &shared{
		Members: &Members{byActor: make(map[clock.Actor]*peer)},
		cfg:     cfg,
		cluster: h.Sum32(),
		store:   store,
		rng:     rand.New(rand.NewPCG(cfg.Seed, cfg.Self.Rand)),
	}
	c := &ClusterClock{shared: s}
	d := &digests{shared: s, ClusterClock: c, interval: cfg.DigestInterval}
	p := &pushes{shared: s, digests: d, targets: make(map[clock.Actor][]*peer), flights: make(map[clock.Actor]flight)}
	r := &repairs{shared: s, gaps: make(map[clock.Actor]*gap)}
	a := &acks{shared: s, pushes: p}
	st := &stability{shared: s, acks: a, repairs: r}
	rec := &reconciling{shared: s, digests: d}
	sy := &syncs{shared: s, stability: st, reconciling: rec}
	e := &Engine{
		shared: s, ClusterClock: c, digests: d, pushes: p, repairs: r, acks: a, stability: st, reconciling: rec, syncs: sy,
		Beats:     &Beats{shared: s, hosted: make(map[string]hosted), leases: make(map[string]lease)},
		witnesses: &witnesses{shared: s, syncs: sy},
	}
	s.onBlock = e.resendPackets
	return e
}

// SetSelf makes a the actor whose writes are this peer's. Acknowledgements of the former actor's
// writes are forgotten.
func (e *Engine) SetSelf(a clock.Actor) {
	e.cfg.Self = a
	e.cloned = false
	e.acks.ackTarget, e.acks.ackRequestAt = 0, time.Time{}
	for _, p := range e.peers {
		p.ackedOwn = 0
	}
	e.acks.epoch++
	clear(e.targets)
}

// Cloned reports whether another process writes as this peer's actor: a frame named it as the
// sender, or held writes of it that this peer has not made. The owner then calls SetSelf with a
// new actor.
func (e *Engine) Cloned() bool { return e.cloned }

// Envelopes returns the frames to send that were made since the last call, in the order in
// which they must leave. The caller owns them.
func (e *Engine) Envelopes() []Envelope {
	out := e.out
	e.out = nil
	return out
}

// earlier returns the earlier of two times. The zero time means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// later returns the later of two times.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// due reports whether at has come. The zero time never comes.
func due(at, now time.Time) bool { return !at.IsZero() && !at.After(now) }

// Deadline returns when Tick has something to do next, the zero time for never. It is good until the
// next call of another method.
func (e *Engine) Deadline() time.Time {
	at := earlier(e.flushAt, e.digests.digestAt)
	at = earlier(at, e.acks.ackRequestAt)
	at = earlier(earlier(at, e.beatAt), e.newAt)
	if e.changed {
		at = earlier(at, e.flightsAt)
	}
	for _, g := range e.gaps { // a minimum, so the order does not matter
		at = earlier(at, g.at)
	}
	return earlier(at, e.peersAt)
}

// peersDue returns the earliest time at which something is due for a peer, and removes from scheduled the peers
// for which nothing is.
func (e *Engine) peersDue() (at time.Time) {
	e.scheduled = slices.DeleteFunc(e.scheduled, func(p *peer) bool {
		soon := earlier(earlier(earlier(p.headAt, p.greetAt), earlier(p.digestDueAt, p.path.at)), p.heldAt)
		if !p.requestedAt.IsZero() {
			soon = earlier(soon, p.requestedAt.Add(p.askTimeout()))
		}
		p.scheduled = p.Alive && !soon.IsZero() && e.byActor[p.Actor] == p
		if p.scheduled {
			at = earlier(at, soon)
		}
		return !p.scheduled
	})
	return at
}

// Tick does all that is due at now. It does not wait for anything.
func (e *Engine) Tick(now time.Time) {
	if due(e.beatAt, now) || due(e.newAt, now) {
		e.announceLeases(now)
	}
	if due(e.flushAt, now) {
		e.flush(now)
	}
	if due(e.flightsAt, now) {
		e.ageFlights(now)
	}
	e.repair(now)
	if due(e.peersAt, now) {
		slices.SortFunc(e.scheduled, func(a, b *peer) int { return a.Actor.Compare(b.Actor) })
		e.probePaths(now)
		e.announceHeads(now)
		e.retryHeld(now)
		e.retrySyncs(now)
		e.greet(now)
		e.sendDueDigests(now)
		e.peersAt = e.peersDue()
	}
	e.sendAckRequests(now)
	if due(e.digests.digestAt, now) {
		e.digestRandomPeer(now)
	}
	e.claimants = slices.DeleteFunc(e.claimants, func(p *peer) bool {
		e.promote(p)
		return p.claimed == nil
	})
}

// firstContact is called for the first frame from p since p came up. Before, p may not have known
// this peer as a member and may have dropped its frames, so the leases of workers are sent again, and
// the path is probed.
func (e *Engine) firstContact(now time.Time, p *peer) {
	if len(e.hosted) > 0 {
		p.greetAt = now
		e.schedule(p, now)
	}
	if p.path.to == Blocked {
		p.path.at = now
		e.schedule(p, now)
	}
}

// resendPackets is called when packets to p are found blocked. It sends again, now by stream, what
// the lost packets may have carried: heads, a sync-request, gap requests and leases.
func (e *Engine) resendPackets(now time.Time, p *peer) {
	if len(p.unacked) > 0 {
		p.headsSent, p.headAt = 0, now
	}
	p.digestDueAt = now.Add(quiet) // after the heads: p forwards deltas that answer them, and not what a sync brings
	if !p.requestedAt.IsZero() {
		e.sendSyncRequest(now, p)
	}
	for _, g := range e.gaps { // each gap by itself, so the order does not matter
		if g.askedPeer == p && !g.quarantined {
			g.at = now
		}
	}
	if len(e.hosted) > 0 {
		p.greetAt = now
	}
}

// SetView tells the engine who the other peers are: all that are known, those that are down
// included, in any order. A peer that is replaced or no longer listed is forgotten. Entries of this
// peer's own actor and repeated ones are skipped.
func (e *Engine) SetView(now time.Time, peers []Peer) {
	e.views++
	var room []peer // one allocation for the first view
	if len(e.byActor) == 0 {
		e.byActor = make(map[clock.Actor]*peer, len(peers))
		room = make([]peer, len(peers))
	}
	e.peers = e.peers[:0]
	joined := false
	births := make(Births, len(peers))
	for _, p := range peers {
		births.Add(p)
	}
	for _, p := range peers {
		old := e.byActor[p.Actor]
		if p.Actor == e.cfg.Self || births.Replaced(p) || old != nil && old.view == e.views {
			continue
		}
		if old == nil {
			if len(room) == 0 {
				room = make([]peer, 1)
			}
			old, room = &room[0], room[1:]
			old.window, old.tokens, old.reportIndex = initialWindow, packetBurst, -1
			e.byActor[p.Actor] = old
		}
		old.view = e.views
		if p.Alive && !old.Alive {
			joined = true
			old.joined, old.downAt = now, time.Time{}
			old.endSync()
			old.minTimeout, old.largeAnswered, old.unanswered = 0, 0, 0
			old.notBefore, old.pauseTime = time.Time{}, 0
			old.window = initialWindow
			old.path = path{lastNumber: old.path.lastNumber}
			if len(e.hosted) > 0 {
				old.greetAt = now.Add(greetDelay)
				e.schedule(old, old.greetAt)
			}
		}
		if !p.Alive {
			if old.downAt.IsZero() {
				old.downAt = now
			}
			old.absent = nil
			old.dropQueue()
			old.behind = false
			old.unacked, old.headAt, old.requestedAt, old.greetAt, old.digestDueAt = nil, time.Time{}, time.Time{}, time.Time{}, time.Time{}
			old.path.at = time.Time{}
		}
		old.Peer = p
		e.peers = append(e.peers, old)
	}
	slices.SortFunc(e.peers, func(a, b *peer) int { return a.Actor.Compare(b.Actor) })
	if len(e.byActor) > len(e.peers) {
		maps.DeleteFunc(e.byActor, func(_ clock.Actor, p *peer) bool { return p.view != e.views })
		e.scheduled = slices.DeleteFunc(e.scheduled, func(p *peer) bool { return p.view != e.views })
	}
	e.setReports()
	e.setLiving()
	e.unload()
	clear(e.targets)
	e.setOffset(now)
	e.setHash(e.cfg.Self)
	if joined {
		e.digests.interval = e.cfg.DigestInterval
		e.digests.digestAt = now
	}
}

// Synced reports whether this peer has completed a sync with another peer since it started.
func (e *Engine) Synced() bool { return e.synced }

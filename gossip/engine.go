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

// Engine decides which peer is told what, and when. It is a value machine: one
// owner serialises all calls, and what it wants done comes out of Envelopes.
type Engine struct {
	cfg     Config
	cluster uint32
	store   *crdt.Store
	rng     *rand.Rand

	peers    []*peer // by actor
	byActor  map[clock.Actor]*peer
	targets  map[clock.Actor][]*peer // of each origin, until the view changes
	out      []Envelope
	frame    frameWriter
	codec    codec
	hashed   uint64 // the context's, when hashedAt additions had been made to it
	hashedAt uint64

	flushAt time.Time // zero: nothing waits

	hosted   map[string]hosted // workers that beat through this peer
	leases   map[string]lease  // and through others
	beatAt   time.Time         // when all of hosted are told
	newsAt   time.Time         // and the new ones
	prunedAt time.Time

	gaps    map[clock.Actor]*gap
	rtt     time.Duration // the last of any peer
	marks   map[clock.Actor]mark
	markAt  time.Time
	active  time.Time // when something last changed
	changed bool      // since the last digest

	digestAt    time.Time
	blockedAt   time.Time // when packets to a peer were found blocked, so that other paths are doubted; not again for probeEvery
	digestEvery time.Duration
	digested    time.Time

	ackTarget uint64 // own writes somebody waits for
	ackAt     time.Time
	ackTries  int
	ackEpoch  uint64
	wanting   []*peer // who want to know when this peer has something

	synced    bool
	cloned    bool
	maxStamp  clock.Timestamp      // the latest written or merged here, or said to exist
	living    []*peer              // those of peers that are up
	actors    []clock.Actor        // theirs
	peersAt   time.Time            // not after anything is due for one of them
	awaited   []*peer              // those for whom something is, or was
	loaded    []*peer              // those for whom deltas wait
	ranks     []ranked             // see children
	reports   []report             // of peers, in their order
	clocks    []time.Duration      // see setOffset
	names     map[string]uint64    // of peers that are up, while some are not: their latest birth
	claimants []*peer              // whose claims are not promoted yet
	snap      *clock.CausalContext // see snapshot
	snapAt    uint64
	offset    time.Duration             // see Offset
	offsetAt  time.Time                 // when it was taken
	views     uint64                    // counts the calls of SetView
	cameAt    time.Time                 // when somebody last came or went
	strangers map[clock.Actor]time.Time // see spokenOf
	members   uint64                    // who counts for stability
	stats     Stats
}

// peer is what the engine knows of one other member.
type peer struct {
	Peer
	urgent, bulk []crdt.Delta // waiting, in order
	queued       int          // bytes
	behind       bool         // its queue overflowed: it must sync
	met          bool         // all that it had, at some time of this life, is here
	window       int          // bulk bytes the shell takes now
	tokens       float64      // packets it may get
	tokensAt     time.Time
	path         path

	sent       []head // the last of each origin pushed since headStep was 0
	headStep   int
	headsSince time.Time     // when the first was announced
	ackTime    time.Duration // from that until it said that it is there, about
	headAt     time.Time

	answers answers // to its requests for gaps
	aliens  int     // gaps that it showed of actors that nothing else was heard of
	said    uint64  // how many writes of its own it has spoken of

	held      *clock.CausalContext // what it told in the end of its last sync, not taken over yet
	heldAt    time.Time            // when that is looked at again
	heldTries int

	acked    *clock.CausalContext // what it has seen, and so have we
	claimed  *clock.CausalContext // what it said it has seen
	ackedOwn uint64               // own writes it has acknowledged
	wants    map[clock.Actor]want

	asked       time.Time     // our sync request to it that is not answered yet
	askedFirst  time.Time     // the first after the last answer
	patience    time.Duration // twice what its last answer took
	request     uint64        // its number
	answered    uint64        // requests up to this one have been followed
	askTries    int
	answering   uint64               // its request that was answered at length last
	answerUntil time.Time            // while that may be under way
	answerWait  time.Duration        // before the next repeated one is answered
	told        *clock.CausalContext // what the answers of a sync have covered, with what was seen
	toldUpTo    clock.Actor          // of whom they may have told a part
	askedWith   *clock.CausalContext // what the latest request and its repeats say was seen
	parts       []clock.Part         // in which they say it, see retire.go
	refined     int                  // how often they were split
	early       bool                 // and some of it was set aside for its time
	fresh       bool                 // they have brought something
	rest        time.Time            // no sync before
	paused      time.Duration        // for so long, because the last brought nothing
	have        int                  // progress of a sync from it
	total       int
	mismatches  int       // equal contexts, different sums, in a row
	agreedAt    time.Time // when its digest was last equal to this peer's
	agreed      uint64    // that digest's hash

	members uint64
	contact time.Time
	joined  time.Time     // when it last came up
	rtt     time.Duration // until its last answer; 0 before
	greetAt time.Time     // when it is told of the workers here

	compareAt  time.Time // when it gets a digest, for something was dropped
	comparedAt time.Time // and last got one

	report  int    // its place in the engine's
	awaited bool   // it is in the engine's list
	loaded  bool   // it is in that
	view    uint64 // the last that had it
}

// report is what a peer's digests told of it. All are looked through every second:
// they lie side by side.
type report struct {
	heard, alive bool
	offset       time.Duration // of its clock to this peer's
	rules        uint64
}

type head struct {
	actor clock.Actor
	seq   uint64
}

// mark remembers how far an actor was, for telling what may still be under way.
type mark struct{ settled, recent uint64 }

const (
	initialWindow = 4 << 20
	markInterval  = 100 * time.Millisecond
)

// New returns an engine over store, which it shares with its owner.
func New(cfg Config, store *crdt.Store) *Engine {
	cfg = cfg.withDefaults()
	h := fnv.New32a()
	h.Write([]byte(cfg.Cluster))
	return &Engine{
		cfg:         cfg,
		cluster:     h.Sum32(),
		store:       store,
		rng:         rand.New(rand.NewPCG(cfg.Seed, cfg.Self.Rand)),
		byActor:     make(map[clock.Actor]*peer),
		targets:     make(map[clock.Actor][]*peer),
		gaps:        make(map[clock.Actor]*gap),
		marks:       make(map[clock.Actor]mark),
		hosted:      make(map[string]hosted),
		leases:      make(map[string]lease),
		strangers:   make(map[clock.Actor]time.Time),
		digestEvery: cfg.DigestInterval,
	}
}

// SetSelf makes a the actor whose writes are this peer's. What was acknowledged were
// another's.
func (e *Engine) SetSelf(a clock.Actor) {
	e.cfg.Self = a
	e.cloned = false
	e.ackTarget, e.ackAt = 0, time.Time{}
	for _, p := range e.peers {
		p.ackedOwn = 0
	}
	e.ackEpoch++
	clear(e.targets)
}

// Cloned reports whether somebody else writes as this peer's actor.
func (e *Engine) Cloned() bool { return e.cloned }

// Envelopes returns what is to be sent since the last call.
func (e *Engine) Envelopes() []Envelope {
	out := e.out
	e.out = nil
	return out
}

// touch notes that something changed, so that digests come quickly again.
func (e *Engine) touch(now time.Time) {
	e.active = now
	e.changed = true
	if e.digestEvery > e.cfg.DigestInterval {
		e.digestEvery = e.cfg.DigestInterval
		e.digestAt = earlier(e.digestAt, now.Add(e.digestEvery))
	}
}

// earlier returns the earlier of two times, where zero means never.
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

func due(at, now time.Time) bool { return !at.IsZero() && !at.After(now) }

// Deadline returns when Tick has something to do, zero for never.
func (e *Engine) Deadline() time.Time {
	at := earlier(e.flushAt, e.digestAt)
	at = earlier(at, e.ackAt)
	at = earlier(earlier(at, e.beatAt), e.newsAt)
	if e.changed {
		at = earlier(at, e.markAt)
	}
	for _, g := range e.gaps { // a minimum: no order shows
		at = earlier(at, g.at)
	}
	return earlier(at, e.peersAt)
}

// await notes that something is due for p at a time.
func (e *Engine) await(p *peer, at time.Time) {
	e.peersAt = earlier(e.peersAt, at)
	if !p.awaited {
		p.awaited = true
		e.awaited = append(e.awaited, p)
	}
}

// peersDue returns when there is something to do for a peer.
func (e *Engine) peersDue() (at time.Time) {
	e.awaited = slices.DeleteFunc(e.awaited, func(p *peer) bool {
		soon := earlier(earlier(earlier(p.headAt, p.greetAt), earlier(p.compareAt, p.path.at)), p.heldAt)
		if !p.asked.IsZero() {
			soon = earlier(soon, p.asked.Add(p.askTimeout()))
		}
		p.awaited = p.Alive && !soon.IsZero() && e.byActor[p.Actor] == p
		if p.awaited {
			at = earlier(at, soon)
		}
		return !p.awaited
	})
	return at
}

// Tick does what is due.
func (e *Engine) Tick(now time.Time) {
	if due(e.beatAt, now) || due(e.newsAt, now) {
		e.beats(now)
	}
	if due(e.flushAt, now) {
		e.flush(now)
	}
	if due(e.markAt, now) {
		e.rotateMarks(now)
	}
	e.repair(now)
	if due(e.peersAt, now) {
		slices.SortFunc(e.awaited, func(a, b *peer) int { return a.Actor.Compare(b.Actor) })
		e.probePaths(now)
		e.announceHeads(now)
		e.retryHeld(now)
		e.retrySyncs(now)
		e.greet(now)
		e.compare(now)
		e.peersAt = e.peersDue()
	}
	e.chaseAcks(now)
	if due(e.digestAt, now) {
		e.digest(now)
	}
	e.claimants = slices.DeleteFunc(e.claimants, func(p *peer) bool {
		e.promote(p)
		return p.claimed == nil
	})
}

// unsettle notes that a's dots from seq on are new.
func (e *Engine) unsettle(now time.Time, a clock.Actor, seq uint64) {
	if _, ok := e.marks[a]; !ok {
		e.marks[a] = mark{settled: seq - 1, recent: seq - 1}
	}
	e.markAt = earlier(e.markAt, now.Add(markInterval))
}

// rotateMarks lets dots seen before the last interval count as settled.
func (e *Engine) rotateMarks(now time.Time) {
	e.markAt = time.Time{}
	busy := false
	for a, m := range e.marks { // each for itself: no order
		head := m.recent
		if s := e.store.Context().Span(a); s != nil {
			head = s.Head()
		}
		if m.settled == head && m.recent == head {
			delete(e.marks, a)
			continue
		}
		busy = true
		e.marks[a] = mark{settled: m.recent, recent: head}
	}
	if busy {
		e.markAt = now.Add(markInterval)
	}
}

// SetView tells the engine who the others are: everyone known, dead ones too.
func (e *Engine) SetView(now time.Time, peers []Peer) {
	e.views++
	var room []peer // side by side, for the first of a large cluster
	if len(e.byActor) == 0 {
		e.byActor = make(map[clock.Actor]*peer, len(peers))
		room = make([]peer, len(peers))
	}
	e.peers = e.peers[:0]
	joined, left := false, false
	for _, p := range peers {
		old := e.byActor[p.Actor]
		if p.Actor == e.cfg.Self || old != nil && old.view == e.views {
			continue
		}
		if old == nil {
			if len(room) == 0 {
				room = make([]peer, 1)
			}
			old, room = &room[0], room[1:]
			old.window, old.tokens, old.report = initialWindow, packetBurst, -1
			e.byActor[p.Actor] = old
		}
		old.view = e.views
		if p.Alive && !old.Alive {
			joined = true
			old.joined = now
			old.endSync()
			old.patience, old.answering = 0, 0
			old.rest, old.paused = time.Time{}, 0
			old.window = initialWindow
			old.path = path{number: old.path.number}
			if len(e.hosted) > 0 {
				old.greetAt = now.Add(greeting)
				e.await(old, old.greetAt)
			}
		}
		if !p.Alive {
			left = left || old.Alive
			old.dropQueue()
			old.behind = false
			old.sent, old.headAt, old.asked, old.greetAt, old.compareAt = nil, time.Time{}, time.Time{}, time.Time{}, time.Time{}
			old.path.at = time.Time{}
		}
		old.Peer = p
		e.peers = append(e.peers, old)
	}
	slices.SortFunc(e.peers, func(a, b *peer) int { return a.Actor.Compare(b.Actor) })
	if len(e.byActor) > len(e.peers) {
		maps.DeleteFunc(e.byActor, func(_ clock.Actor, p *peer) bool { return p.view != e.views })
		e.awaited = slices.DeleteFunc(e.awaited, func(p *peer) bool { return p.view != e.views })
	}
	e.setReports()
	e.setLiving()
	e.unload()
	clear(e.targets)
	e.setOffset(now)
	e.setMembers()
	if joined || left || e.cameAt.IsZero() {
		e.cameAt = now
	}
	if joined {
		e.digestEvery = e.cfg.DigestInterval
		e.digestAt = now
	}
}

// setReports brings the reports into the order of the peers.
func (e *Engine) setReports() {
	old := e.reports
	e.reports = make([]report, len(e.peers))
	for i, p := range e.peers {
		if p.report >= 0 {
			e.reports[i] = old[p.report]
		}
		p.report = i
		e.reports[i].alive = p.Alive
	}
}

// setLiving takes who of the peers is up, and under which names.
func (e *Engine) setLiving() {
	e.living, e.actors = make([]*peer, 0, len(e.peers)), e.actors[:0]
	for _, p := range e.peers {
		if p.Alive {
			e.living = append(e.living, p)
			e.actors = append(e.actors, p.Actor)
		}
	}
	e.names = nil
	if len(e.living) < len(e.peers) {
		e.names = make(map[string]uint64, len(e.living))
		for _, p := range e.living {
			e.names[p.Name] = max(e.names[p.Name], p.Actor.Birth)
		}
	}
}

// Synced reports whether this peer has completed an exchange with another since
// it started.
func (e *Engine) Synced() bool { return e.synced }

// SyncedWith returns the names of the peers with whom this one has completed an
// exchange since it started: all that each of them had then it has.
func (e *Engine) SyncedWith() (names []string) {
	for _, p := range e.peers {
		if p.met {
			names = append(names, p.Name)
		}
	}
	return names
}

// NameOf returns the name of the peer that writes as a, "" if there is none.
func (e *Engine) NameOf(a clock.Actor) string {
	if p := e.byActor[a]; p != nil {
		return p.Name
	}
	return ""
}

// Living returns the names of the peers that are up.
func (e *Engine) Living() []string {
	var names []string
	for _, p := range e.living {
		names = append(names, p.Name)
	}
	return names
}

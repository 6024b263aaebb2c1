package gossip

import (
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

const (
	quiet     = 100 * time.Millisecond // after which nothing should be under way
	underLoad = time.Second            // between digests when it is never quiet
)

// contextHash identifies what this peer has seen.
func (e *Engine) contextHash() uint64 {
	if seen := e.store.Seen(); e.hashedAt != seen || e.hashed == 0 {
		e.hashed, e.hashedAt = e.store.Context().Sum(), seen
	}
	return e.hashed
}

// stateHash identifies what this peer has seen and holds: tier 0 of
// anti-entropy.
func (e *Engine) stateHash() uint64 { return e.contextHash() ^ e.store.Sum()*0x9e3779b97f4a7c15 }

// snapshot returns the context as it is now, not to be changed.
func (e *Engine) snapshot() *clock.CausalContext {
	if seen := e.store.Seen(); e.snap == nil || e.snapAt != seen {
		e.snap, e.snapAt = e.store.Context().Clone(), seen
	}
	return e.snap
}

// StateHash identifies the state for comparing peers: equal on peers that agree.
func (e *Engine) StateHash() uint64 { return e.stateHash() }

// digest compares notes with one peer chosen at random.
func (e *Engine) digest(now time.Time) {
	if len(e.living) == 0 {
		e.digestAt = time.Time{}
		return
	}
	if now.Sub(e.active) < quiet && now.Sub(e.digested) < underLoad {
		e.digestAt = now.Add(quiet)
		return
	}
	e.digested = now
	if e.changed {
		e.changed = false
		e.digestEvery = e.cfg.DigestInterval
	} else {
		e.digestEvery = min(2*e.digestEvery, e.cfg.DigestMax)
	}
	e.digestAt = now.Add(e.digestEvery)
	e.sendDigest(now, e.living[e.rng.IntN(len(e.living))])
}

func (e *Engine) sendDigest(now time.Time, p *peer) {
	w := e.begin()
	e.writeDigest(w, now, 0)
	e.send(now, p, Packet, e.finish(w, 0, false))
	e.stats.Digests++
}

// writeDigest writes a digest, as an answer to one that was sent at the other's time
// echo if that is not 0.
func (e *Engine) writeDigest(w *frameWriter, now time.Time, echo uint64) {
	w.section(secDigest, 6)
	w.uint(echo)
	w.uint(e.stateHash())
	w.uint(uint64(max(now.UnixMilli(), 0)))
	w.uint(e.cfg.Rules)
	w.uint(uint64(e.maxStamp))
	w.uint(e.members)
}

// setMembers takes the hash of who counts for stability, this peer among them.
func (e *Engine) setMembers() {
	e.members = mix(e.cfg.Self, clock.Actor{})
	for _, p := range e.peers {
		if !e.replaced(p) {
			e.members += mix(p.Actor, clock.Actor{})
		}
	}
}

// digest holds another's digest against this peer's state.
func (in *incoming) digest(r *wire.Reader) {
	e, p := in.e, in.from
	echo, hash, wall, rules, stamp, members := r.Uint(), r.Uint(), r.Uint(), r.Uint(), clock.Timestamp(r.Uint()), r.Uint()
	if r.Err() != nil || p == nil {
		return
	}
	answer := echo != 0
	told := &e.reports[p.report]
	fresh := !told.heard && len(e.living) <= offsetSoon
	told.compareClocks(in.now, wall, echo)
	told.heard, told.rules = true, rules
	p.members = members
	if fresh || in.now.Sub(e.offsetAt).Abs() >= offsetEvery {
		e.setOffset(in.now)
	}
	e.hear(in.now, stamp)
	if hash == e.stateHash() {
		p.mismatches = 0
		p.agreedAt, p.agreed = in.now, hash
		e.claim(p, e.snapshot())
		e.setSynced(p)
		if !answer {
			w := e.begin()
			e.writeDigest(w, in.now, max(wall, 1))
			e.send(in.now, p, Packet, e.finish(w, 0, false))
		}
		return
	}
	if !answer || in.now.Sub(e.active) >= quiet {
		e.requestSync(in.now, p)
	}
}

// maxRoundTrip is how long a digest and its answer may take together to tell the time.
const maxRoundTrip = 2 * time.Second

// compareClocks takes a sample of a peer's clock. What is late makes the clock look
// slow, so only the answer to a digest, which says when that was sent, may set it back
// (Cristian 1989).
func (r *report) compareClocks(now time.Time, wall, echo uint64) {
	sample := time.UnixMilli(int64(min(wall, 1<<48))).Sub(now)
	trip := now.Sub(time.UnixMilli(int64(min(echo, 1<<48))))
	switch {
	case echo != 0 && trip >= 0 && trip <= maxRoundTrip:
		r.offset = sample + trip/2
	case !r.heard || sample > r.offset:
		r.offset = sample
	}
}

// hear takes over a peer's latest stamp, so that what is written here from now on
// is later even than writes whose removals have been forgotten.
func (e *Engine) hear(now time.Time, stamp clock.Timestamp) {
	if stamp <= e.Limit(now) {
		e.maxStamp = max(e.maxStamp, stamp)
	}
}

// setSynced notes that p and this peer have compared notes to the end.
func (e *Engine) setSynced(p *peer) {
	e.synced, p.met = true, true
	p.behind = false
	p.endSync()
	p.patience, p.paused = 0, 0
}

// Limit is the latest stamp that is merged now, here and by peers with good
// clocks: this peer's clock, corrected if most others disagree with it, and the
// skew allowed. A write stamped later must not be made.
func (e *Engine) Limit(now time.Time) clock.Timestamp {
	return clock.TimestampAt(now.Add(e.offset + e.cfg.MaxSkew))
}

// Offset is how far the cluster's time is ahead of this peer's clock: the lower
// median of the peers' clocks and its own. Of two that disagree, the one ahead is
// taken to be wrong.
func (e *Engine) Offset() time.Duration { return e.offset }

// Skewed reports whether this peer's clock is off by more than MaxSkew.
func (e *Engine) Skewed() bool { return e.offset.Abs() > e.cfg.MaxSkew }

// offsetEvery is how long the median of known clocks stands; among few, another
// clock counts at once.
const (
	offsetEvery = time.Second
	offsetSoon  = 32
)

// setOffset takes the median again, when a clock was heard or a peer came or went.
func (e *Engine) setOffset(now time.Time) {
	e.offsetAt = now
	e.clocks = append(e.clocks[:0], 0) // its own
	for _, r := range e.reports {
		if r.heard && r.alive {
			e.clocks = append(e.clocks, r.offset)
		}
	}
	middle := (len(e.clocks) - 1) / 2
	nth(e.clocks, middle, func(a, b time.Duration) bool { return a < b })
	e.offset = e.clocks[middle]
}

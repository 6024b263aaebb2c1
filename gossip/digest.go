package gossip

import (
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

const (
	quiet           = 100 * time.Millisecond // after which nothing should be under way
	digestUnderLoad = time.Second            // between digests when it is never quiet
)

// digests compare notes with one other peer at a time.
type digests struct {
	*shared
	*ClusterClock
	changedAt   time.Time // when something last changed
	changed     bool      // since the last digest
	digestAt    time.Time // when the next is due
	interval    time.Duration
	sentAt      time.Time            // when the last went to a peer chosen at random
	cachedHash  uint64               // the hash of the context,
	hashVersion uint64               // when so many additions had been made to it
	snap        *clock.CausalContext // see snapshot
	snapVersion uint64
}

// peerDigest is what digests keep of a peer.
type peerDigest struct {
	membersHash uint64    // the hash of whom it counts for stability
	agreedAt    time.Time // when its digest was last equal to this peer's
	agreedHash  uint64    // that digest's hash
	mismatches  int       // equal contexts, different sums, in a row
	digestDueAt time.Time // when it gets a digest, for something was dropped
	digestedAt  time.Time // when it last got one
}

// contextHash identifies what this peer has seen.
func (d *digests) contextHash() uint64 {
	if seen := d.store.ContextAdditions(); d.hashVersion != seen || d.cachedHash == 0 {
		d.cachedHash, d.hashVersion = d.store.Context().Sum(), seen
	}
	return d.cachedHash
}

// stateHash identifies what this peer has seen and holds: tier 0 of
// anti-entropy.
func (d *digests) stateHash() uint64 { return d.contextHash() ^ d.store.Sum()*0x9e3779b97f4a7c15 }

// snapshot returns the context as it is now, not to be changed.
func (d *digests) snapshot() *clock.CausalContext {
	if seen := d.store.ContextAdditions(); d.snap == nil || d.snapVersion != seen {
		d.snap, d.snapVersion = d.store.Context().Clone(), seen
	}
	return d.snap
}

// StateHash identifies the state for comparing peers: equal on peers that agree.
func (d *digests) StateHash() uint64 { return d.stateHash() }

// digest compares notes with one peer chosen at random.
func (d *digests) digestRandomPeer(now time.Time) {
	if len(d.living) == 0 {
		d.digestAt = time.Time{}
		return
	}
	if now.Sub(d.changedAt) < quiet && now.Sub(d.sentAt) < digestUnderLoad {
		d.digestAt = now.Add(quiet)
		return
	}
	d.sentAt = now
	if d.changed {
		d.changed = false
		d.interval = d.cfg.DigestInterval
	} else {
		d.interval = min(2*d.interval, d.cfg.DigestMax)
	}
	d.digestAt = now.Add(d.interval)
	d.sendDigest(now, d.living[d.rng.IntN(len(d.living))])
}

func (d *digests) sendDigest(now time.Time, p *peer) {
	w := d.begin()
	d.writeDigest(w, now, 0)
	d.send(now, p, Packet, d.finish(w, 0, false))
	d.stats.Digests++
}

// writeDigest writes a digest, as an answer to one that was sent at the other's time
// echo if that is not 0.
func (d *digests) writeDigest(w *frameWriter, now time.Time, echo uint64) {
	w.section(secDigest, 6)
	w.uint(echo)
	w.uint(d.stateHash())
	w.uint(uint64(max(now.UnixMilli(), 0)))
	w.uint(d.cfg.Rules)
	w.uint(uint64(d.maxStamp))
	w.uint(d.membersHash)
}

// digest holds another's digest against this peer's state.
func (in *incoming) digest(r *wire.Reader) {
	e, p := in.e, in.from
	echo, hash, wall, rules, stamp, members := r.Uint(), r.Uint(), r.Uint(), r.Uint(), clock.Timestamp(r.Uint()), r.Uint()
	if r.Err() != nil || p == nil {
		return
	}
	answer := echo != 0
	told := &e.reports[p.reportIndex]
	fresh := !told.heard && len(e.living) <= fewPeers
	told.compareClocks(in.now, wall, echo)
	told.heard, told.rules = true, rules
	p.membersHash = members
	if fresh || in.now.Sub(e.offsetAt).Abs() >= offsetEvery {
		e.setOffset(in.now)
	}
	e.observe(in.now, stamp)
	if hash == e.stateHash() {
		p.mismatches = 0
		p.agreedAt, p.agreedHash = in.now, hash
		e.claim(p, e.snapshot())
		e.setSynced(p)
		if !answer {
			w := e.begin()
			e.writeDigest(w, in.now, max(wall, 1))
			e.send(in.now, p, Packet, e.finish(w, 0, false))
		}
		return
	}
	if !answer || in.now.Sub(e.changedAt) >= quiet {
		e.requestSync(in.now, p)
	}
}

// touch notes that something changed, so that digests come quickly again.
func (d *digests) noteChange(now time.Time) {
	d.changedAt = now
	d.changed = true
	if d.interval > d.cfg.DigestInterval {
		d.interval = d.cfg.DigestInterval
		d.digestAt = earlier(d.digestAt, now.Add(d.interval))
	}
}

// Lost tells that something for a peer was dropped: they compare notes, once for all
// that is lost until the next digest may go.
func (d *digests) Lost(now time.Time, to clock.Actor) {
	if p := d.byActor[to]; p != nil && p.Alive {
		d.stats.Lost++
		p.largeAnswered = 0
		if p.digestDueAt.IsZero() {
			p.digestDueAt = later(now, p.digestedAt.Add(d.cfg.DigestInterval))
			d.schedule(p, p.digestDueAt)
		}
	}
}

// compare sends digests to those for whom something was dropped.
func (d *digests) sendDueDigests(now time.Time) {
	for _, p := range d.scheduled {
		if p.Alive && due(p.digestDueAt, now) {
			p.digestDueAt, p.digestedAt = time.Time{}, now
			d.sendDigest(now, p)
		}
	}
}

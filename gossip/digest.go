package gossip

import (
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

const (
	quiet           = 100 * time.Millisecond // time without a change after which pushes should have arrived
	digestUnderLoad = time.Second            // greatest pause between digests while the state never rests for quiet
)

// digests compare the states of this peer and of one other peer at a time, by their hashes.
type digests struct {
	*shared
	*ClusterClock
	changedAt   time.Time            // when the state last changed
	changed     bool                 // the state has changed since the last digest
	digestAt    time.Time            // when the next digest to a random peer is due; zero for never
	interval    time.Duration        // pause between digests to random peers
	sentAt      time.Time            // when the last digest to a random peer was sent
	cachedHash  uint64               // hash of the context at hashVersion
	hashVersion uint64               // crdt.Store.ContextAdditions when cachedHash was computed
	snap        *clock.CausalContext // copy of the context at snapVersion, nil if there is none
	snapVersion uint64               // crdt.Store.ContextAdditions when snap was made
}

// peerDigest is the state that digests keep for each peer.
type peerDigest struct {
	membersHash uint64    // hash of the members that the peer counts for stability
	agreedAt    time.Time // when a digest of the peer was last equal to this peer's
	agreedHash  uint64    // state hash of that digest
	mismatches  int       // syncs in a row that found equal contexts and different checksums
	digestDueAt time.Time // when the peer gets a digest out of turn, see Lost; zero for never
	wall        uint64    // what the peer's clock showed in its last digest, in Unix milliseconds
	digestedAt  time.Time // when the last digest out of turn was sent
}

// contextHash returns a hash of the context. Peers with equal contexts have equal hashes.
func (d *digests) contextHash() uint64 {
	if v := d.store.ContextAdditions(); d.hashVersion != v || d.cachedHash == 0 {
		d.cachedHash, d.hashVersion = d.store.Context().Sum(), v
	}
	return d.cachedHash
}

// stateHash returns a hash of the context and the live records.
func (d *digests) stateHash() uint64 { return d.contextHash() ^ d.store.Sum()*0x9e3779b97f4a7c15 }

// snapshot returns a copy of the context, which must not be changed. It is the same copy until the
// context changes.
func (d *digests) snapshot() *clock.CausalContext {
	if v := d.store.ContextAdditions(); d.snap == nil || d.snapVersion != v {
		d.snap, d.snapVersion = d.store.Context().Clone(), v
	}
	return d.snap
}

// StateHash returns a hash of the context and the live records. It is equal on peers that have seen the
// same writes and hold the same records.
func (d *digests) StateHash() uint64 { return d.stateHash() }

// digestRandomPeer sends a digest to a random peer, unless pushes of a recent change are still in
// flight: they would make the digests differ.
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

// writeDigest writes a digest section. echo is 0, or, if this digest answers another one, the wall
// clock in that one.
func (d *digests) writeDigest(w *frameWriter, now time.Time, echo uint64) {
	w.section(secDigest, 6)
	w.uint(echo)
	w.uint(d.stateHash())
	w.uint(uint64(max(now.UnixMilli(), 0)))
	w.uint(d.cfg.Rules)
	w.uint(uint64(d.maxStamp))
	w.uint(d.membersHash)
}

// digest receives a digest and compares it with this peer's state. If they are equal, it answers a digest
// that is no answer itself. If they differ, it starts a sync.
func (in *incoming) digest(r *wire.Reader) {
	e, p := in.e, in.from
	echo, hash, wall, rules, stamp, members := r.Uint(), r.Uint(), r.Uint(), r.Uint(), clock.Timestamp(r.Uint()), r.Uint()
	if r.Err() != nil || p == nil {
		return
	}
	answer := echo != 0
	rep := &e.reports[p.reportIndex]
	first := !rep.heard && len(e.living) <= fewPeers
	rep.compareClocks(in.now, wall, echo)
	rep.heard, rep.rules = true, rules
	p.membersHash, p.wall = members, wall
	if first || in.now.Sub(e.offsetAt).Abs() >= offsetEvery {
		e.setOffset(in.now)
	}
	e.observe(in.now, stamp)
	if hash == e.stateHash() {
		p.mismatches = 0
		p.agreedAt, p.agreedHash = in.now, hash
		e.claim(p, e.snapshot(), wall)
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

// noteChange records a change of the state, and shortens the pause until the next digest.
func (d *digests) noteChange(now time.Time) {
	d.changedAt = now
	d.changed = true
	if d.interval > d.cfg.DigestInterval {
		d.interval = d.cfg.DigestInterval
		d.digestAt = earlier(d.digestAt, now.Add(d.interval))
	}
}

// Lost tells the engine that an envelope for a peer was dropped. The peer gets a digest, at most one in
// Config.DigestInterval, however many envelopes were dropped.
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

// sendDueDigests sends the digests that are due out of turn.
func (d *digests) sendDueDigests(now time.Time) {
	for _, p := range d.scheduled {
		if p.Alive && due(p.digestDueAt, now) {
			p.digestDueAt, p.digestedAt = time.Time{}, now
			d.sendDigest(now, p)
		}
	}
}

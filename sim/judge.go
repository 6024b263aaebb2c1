package sim

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/replica"
)

// judge watches a run and checks it against the oracles.
type judge struct {
	c          *Cluster
	violations []string
	minted     map[clock.Dot]*Peer     // the peer that used each dot
	ledgers    map[string]*ledger      // by key
	deeds      []*deed                 // of all keys, in the order of time
	hostile    bool                    // a fault happened: no latency is promised (O8)
	blockedAt  time.Duration           // when a block last began or ended; 0: never
	ignorant   bool                    // a removal may lose to an earlier write: see ticked
	truncated  bool                    // a removal may be gone from a full store: see full
	torn       bool                    // a disk lost entries: acknowledged writes may be gone
	tears      int                     // disks that lost their last entries
	rots       int                     // disks that lost an entry before their last
	settled    bool                    // the run has settled: every peer must read as the model says
	cloned     bool                    // two peers shared an actor: a dot may name two writes
	claimants  map[string][]*Peer      // the peers that wrote a claim, by queue
	items      map[string]*itemHistory // the items of the work queues, by key
	lies       map[string]bool         // the keys that a liar wrote
}

// deed is what one acknowledged write did to one key.
type deed struct {
	op       crdt.Op
	peer     int
	at       time.Duration
	actor    clock.Actor
	dots     []uint64
	stamp    clock.Timestamp
	text     string       // the value in JSON
	fields   []field      // of an object: the fields that the deed writes or removes
	had      []crdt.Value // of a set: the elements that the writer read
	has      []field      // of an object: the fields that the writer read
	saw      uint64       // the deeds of the ledger that the writer had seen, one bit each
	ended    uint64       // those of them that had expired for the writer
	chain    uint64       // of a deadline: the stamp at which the deadlines that it prolongs began
	prolongs uint64       // of a deadline: those that it takes the place of, one bit each
	promised bool         // a surviving process or disk has the write
}

// clears reports whether the deed removes fields of an object and leaves the object.
func (d *deed) clears() bool {
	return d.op.Kind == crdt.Object || d.op.Verb == crdt.Patch && slices.ContainsFunc(d.fields, field.gone)
}

// seenIn reports whether c has all of the deed, and whether it has any of it.
func (d *deed) seenIn(c *clock.CausalContext) (all, any bool) {
	all = true
	s := c.Span(d.actor)
	for _, seq := range d.dots {
		has := s != nil && s.Contains(seq)
		all, any = all && has, any || has
	}
	return all, any
}

// The bounds of O8 and H1, without faults.
const (
	maxViolations = 20
	latencyBound  = 100 * time.Millisecond // of a write, beyond the batch interval
	acquainted    = 500 * time.Millisecond // from this time on the peers know each other
	streamBound   = 2 * time.Second        // of a write, or of a heartbeat on a path not used before, whose packet did not pass
	beatsBlocked  = 15 * time.Second       // of a heartbeat whose packet did not pass
)

func (j *judge) init(c *Cluster) {
	j.c = c
	j.minted = map[clock.Dot]*Peer{}
	j.ledgers = map[string]*ledger{}
	j.lies = map[string]bool{}
	j.hostile = c.cfg.Loss > 0 || c.cfg.Late > 0 || c.cfg.Disk || len(c.cfg.Clocks) > 0 || c.cfg.Queue < 64<<10
}

// violate records a violation of an oracle. The text begins with the oracle's name.
func (j *judge) violate(peer int, format string, args ...any) {
	if len(j.violations) < maxViolations {
		v := fmt.Sprintf(format, args...)
		j.violations = append(j.violations, v)
		j.c.note(Violated, peer, "%s", v)
	}
}

// write applies ops on p and enters the deeds, if p acknowledges the write.
func (j *judge) write(p *Peer, urgent bool, ops []crdt.Op) error {
	s := p.r.Store()
	before, truncated := s.Last(), s.Stats().Truncated
	written, err := p.r.Write(p.wall(), urgent, ops...)
	if err != nil {
		var conflict *crdt.ConflictError
		var full *crdt.FullError
		switch {
		case errors.As(err, &full):
			j.c.reached("a store was full")
			if adds := added(p, ops); adds <= max(j.c.cfg.Memory-s.Memory(), 0) {
				j.violate(p.index, "O15: %s may not write %s, which adds %d bytes: %v", p.name, opsText(ops), adds, err)
			}
		case errors.Is(err, replica.ErrClockSkew):
			j.c.reached("a clock was too far ahead to write")
			if j.c.right(p) && p.r.View().Synced() && !j.cloned {
				// A life from disk has not heard of the other clocks yet. A copy has the stamps of its original.
				j.violate(p.index, "O10: %s may not write although its clock is right: %v", p.name, err)
			}
		case errors.As(err, &conflict):
			j.c.reached("a conditional put came too late")
		}
		return err
	}
	if j.c.tracer != nil {
		j.c.trace("%s writes %s", p.name, opsText(ops))
	}
	j.c.hash = mix(mix(j.c.hash^uint64(j.c.now), written.Last), uint64(written.Stamp))
	if j.c.net.cuts.count > 0 {
		j.c.reached("a write during a cut")
	}
	for i := range ops {
		d := &deed{op: ops[i], peer: p.index, at: j.c.now, actor: p.r.Actor(), stamp: written.Stamp, promised: true}
		s.Live(d.actor, before+1, written.Last, func(delta crdt.Delta) bool {
			if delta.Key() == d.op.Key {
				d.dots = append(d.dots, delta.Seq())
				if j.c.tracer == nil {
					return true
				}
				j.c.trace("   dot %s:%d, stamp %v+%d, key %s", j.c.nameOf(d.actor), delta.Seq(), delta.Stamp().Time().Sub(epoch), delta.Stamp().Counter(), delta.Key())
			}
			return true
		})
		if len(d.dots) == 0 { // nothing changed, or a later operation of the batch replaced the record
			if s.Stats().Truncated > truncated {
				j.unsure(d.op.Key) // or the store had no room to remember the removal
			}
			continue
		}
		j.enter(p, d)
	}
	for seq := before + 1; seq <= written.Last; seq++ {
		dot := clock.Dot{Actor: p.r.Actor(), Seq: seq}
		if other, twice := j.minted[dot]; twice && !j.cloned {
			j.violate(p.index, "O4: dot %s:%d was used on %s and on %s", j.c.nameOf(dot.Actor), seq, other.name, p.name)
		}
		j.minted[dot] = p
	}
	return nil
}

// enter adds a deed to its key's ledger.
func (j *judge) enter(p *Peer, d *deed) {
	j.deeds = append(j.deeds, d)
	l := j.ledgers[d.op.Key]
	if l == nil {
		l = &ledger{}
		j.ledgers[d.op.Key] = l
	}
	if _, ruled := j.c.rules.Match(d.op.Key); ruled || j.lies[d.op.Key] {
		l.vague = true // a rule may give the key another type than its family, and a liar writes no deeds
	}
	l.enter(d, p.r.Store().Context(), p.millis(), &j.c.memo)
	if len(p.lives) > 1 && (!p.r.View().Synced() || l.predates(d)) {
		l.vague = true // the stamp may be earlier than that of a delete, or of an expired write, that all others have forgotten
	}
	l.vague = l.vague || slices.ContainsFunc(j.deeds[:len(j.deeds)-1], func(o *deed) bool { return o.op.Key == d.op.Key && o.actor == d.actor && o.stamp == d.stamp })
	for i, o := range l.deeds[:min(len(l.deeds)-1, modelled)] {
		if d.saw>>i&1 == 1 && d.stamp <= o.stamp && d.actor != o.actor && !j.cloned {
			j.violate(p.index, "O13: %s writes %s at %v, and had seen a write of it at %v", p.name, d.op.Key, d.stamp, o.stamp)
		}
	}
	if slices.ContainsFunc(l.deeds[:len(l.deeds)-1], func(o *deed) bool { return o.stamp == d.stamp && o.actor != d.actor }) {
		j.c.reached("two writes with one stamp")
	}
	if !j.hostile && j.c.now >= acquainted {
		j.c.agenda.add(j.c.now+j.c.cfg.Batch+latencyBound, func() { j.arrived(d) })
	}
}

// lied notes that a liar writes key. The model gives no answer for it any more, but all
// peers must still agree (O1).
func (j *judge) lied(key string) {
	j.lies[key] = true
	j.unsure(key)
}

// arrived checks that a deed is on every peer in time, if there was no fault (O8).
func (j *judge) arrived(d *deed) {
	if j.hostile {
		return
	}
	if due := max(d.at, j.blockedAt) + streamBound + j.c.cfg.Batch; j.blockedAt > 0 && j.c.now < due {
		j.c.agenda.add(due, func() { j.arrived(d) })
		return
	}
	for _, p := range j.c.peers {
		if all, _ := d.seenIn(p.r.Store().Context()); !all {
			j.violate(p.index, "O8: %s of n%d is not on %s after %v", opsText([]crdt.Op{d.op}), d.peer+1, p.name, j.c.now-d.at)
		}
	}
}

// blocked notes that a block of packets began or ended.
func (j *judge) blocked() { j.blockedAt = max(j.c.now, 1) }

// faulted notes a fault: from now on no latency is promised.
func (j *judge) faulted() { j.hostile = true }

// checkChanges checks the changes that a peer reports against what the peer reported before (O7),
// and the keys that changed against the model (O2, O3).
func (j *judge) checkChanges(p *Peer, changes []crdt.Change) {
	if len(changes) == 0 {
		return
	}
	if _, bytes := p.r.View().Pending(); bytes > j.c.queues() {
		j.violate(p.index, "O5: %d bytes wait on %s", bytes, p.name)
	}
	j.full(p)
	list := p.tell(changes)
	last := lastChanges(list)
	for i, ch := range list {
		if strings.HasPrefix(ch.Key, fillPrefix) {
			continue
		}
		if ch.Cause == crdt.CauseExpired && j.c.net.cuts.count > 0 {
			j.c.reached("an entry expired during a cut")
		}
		if ch.Cause == crdt.CauseConflict && slices.ContainsFunc(list[:i], func(o crdt.Change) bool { return o.Lazy && o.Key == ch.Key }) {
			j.c.reached("a leaf lost beside one that did not")
		}
		shown := p.shadow[ch.Key]
		before := func(o crdt.Change) bool { return o.Lazy && o.Key == ch.Key } // a lazy change has no value to compare with
		if old := ch.Old.Raw(); !ch.Lazy && old != shown && ch.Cause != crdt.CauseExpired && !slices.ContainsFunc(list[:i], before) {
			j.violate(p.index, "O7: %s tells that %s was %v, told before was %x", p.name, ch.Key, ch.Old, shown)
		}
		switch {
		case ch.Cause == crdt.CauseConflict: // the value stays the same
		case ch.New.IsZero():
			delete(p.shadow, ch.Key)
		default:
			p.shadow[ch.Key] = ch.New.Raw()
		}
		if j.c.tracer != nil {
			now, _ := p.read(ch.Key)
			j.c.trace("%s tells %s %s: %s", p.name, ch.Cause, ch.Key, now)
		}
		if last(i) {
			j.check(p, ch.Key)
		}
	}
}

// lastChanges returns a function that reports whether the i-th change is the last of its key.
func lastChanges(changes []crdt.Change) func(i int) bool {
	if len(changes) <= 16 {
		return func(i int) bool {
			return !slices.ContainsFunc(changes[i+1:], func(o crdt.Change) bool { return o.Key == changes[i].Key })
		}
	}
	last := make(map[string]int, len(changes))
	for i, ch := range changes {
		last[ch.Key] = i
	}
	return func(i int) bool { return last[changes[i].Key] == i }
}

// ticked notes that p may have forgotten removals while it did not know some peer. That
// happens if p and all peers that it knows have restarted without a disk since they saw
// the unknown peer. A forgotten removal may then lose to an earlier write of that peer.
func (j *judge) ticked(p *Peer) {
	if j.ignorant || !p.ignorant {
		return
	}
	for i, s := range p.sees {
		if i != p.index && s.lives == 0 && len(p.r.View().Stable(p.wall())) > 0 {
			j.ignorant = true
			j.c.reached("a removal was forgotten in ignorance of a peer")
		}
	}
}

// forgets withdraws the promise of every deed that no surviving process and no disk has.
func (j *judge) forgets() {
	var disks []*clock.CausalContext
	for _, p := range j.c.peers {
		if !p.up && p.disk != nil {
			disks = append(disks, p.disk.context())
		}
	}
	for _, d := range j.deeds {
		d.promised = d.promised && (slices.ContainsFunc(j.c.peers, func(p *Peer) bool {
			if !p.up {
				return false
			}
			all, _ := d.seenIn(p.r.Store().Context())
			return all
		}) || slices.ContainsFunc(disks, func(c *clock.CausalContext) bool {
			all, _ := d.seenIn(c)
			return all
		}))
	}
}

// remembers checks that the disk of a peer that died has every write that the peer has
// acknowledged to others (O11).
func (j *judge) remembers(dead *Peer) {
	if dead.disk == nil || j.torn || j.cloned || len(dead.lives) == 0 {
		return
	}
	durable := dead.disk.context()
	for _, p := range j.c.peers {
		if p == dead || !p.up {
			continue
		}
		for _, status := range p.r.View().Peers() {
			acked := p.r.Store().Last() - status.Lag
			if status.Actor != dead.lives[len(dead.lives)-1] || acked == 0 {
				continue
			}
			if s := durable.Span(p.r.Actor()); s == nil || s.Base < acked {
				j.violate(dead.index, "O11: %s acknowledged %d writes of %s, and its disk has not all of them", dead.name, acked, p.name)
			}
		}
	}
}

// queues returns the bound of the bytes that wait on one peer for the others (O5). A liar is one
// of them.
func (c *Cluster) queues() int {
	others := max(c.cfg.Peers-1, 1)
	if c.liar.here {
		others++
	}
	return others * (c.cfg.Queue + 1<<14) // one write may exceed each queue's bound
}

// right reports whether p's clock is right, and p must be able to tell (O10). At most one
// other clock may be wrong, that of a liar included, and it must be ahead: two wrong clocks make
// the cluster's time if p sees no other right one. No clock may be ahead by about maxSkew, where a few seconds
// decide. A p that was just resumed does not count: it takes the old clock readings of the
// frames that waited for the present time.
func (c *Cluster) right(p *Peer) bool {
	if p.resumed > 0 && c.now-p.resumed < recollecting {
		return false
	}
	ahead := 0
	for _, q := range c.peers {
		switch off := q.wall().Sub(epoch.Add(c.now)); {
		case off < -maxSkew/4, off > maxSkew/2 && off < maxSkew*3/2:
			return false
		case off > maxSkew/4 && q == p:
			return false
		case off > maxSkew/4:
			ahead++
		}
	}
	if c.liar.here && c.liar.wall().Sub(epoch.Add(c.now)) > maxSkew/4 {
		ahead++
	}
	return ahead <= 1
}

// recollecting is the time after a resume until p has heard fresh clocks: two digests of
// an idle cluster.
const recollecting = 10 * time.Second

// final judges a run that has settled.
func (j *judge) final() {
	first := j.c.peers[0]
	state := first.r.Store().AppendState(nil)
	for _, p := range j.c.peers[1:] {
		switch {
		case !p.r.Store().Context().Equal(first.r.Store().Context()):
			j.violate(p.index, "O1: %s and %s have not seen the same after %v", first.name, p.name, j.c.bound())
		case p.r.Store().Sum() != first.r.Store().Sum() || !bytes.Equal(p.r.Store().AppendState(nil), state):
			j.violate(p.index, "O1: %s and %s have seen the same and hold different states", first.name, p.name)
		}
	}
	for _, d := range j.deeds {
		if all, _ := d.seenIn(first.r.Store().Context()); d.promised && !all && !j.cloned {
			j.violate(d.peer, "O2: %s of n%d at %v is gone", opsText([]crdt.Op{d.op}), d.peer+1, d.at)
		}
	}
	j.settled = true
	for _, p := range j.c.peers {
		for _, key := range sortedKeys(j.ledgers) {
			j.check(p, key)
		}
		if !p.held() {
			p.r.Tick(p.wall()) // reports the entries that have expired
			p.carry()
		}
		p.settleReaders()
		content := p.content()
		for _, key := range sortedKeys(content) {
			if p.shadow[key] != content[key] && !p.held() {
				j.violate(p.index, "O7: %s holds %s = %x, its subscribers heard %x", p.name, key, content[key], p.shadow[key])
			}
		}
		if len(p.shadow) > len(content) && !p.held() {
			j.violate(p.index, "O7: %s told %d keys and holds %d", p.name, len(p.shadow), len(content))
		}
		j.cover(p)
	}
}

// One run of restsOneIn goes on after it has settled, to check O14.
const (
	restsOneIn = 8
	resting    = 30 * time.Second // for each peer of the cluster: peers compare digests in pairs
	holding    = 10 * time.Minute // until no peer waits for writes that only a dead peer had
)

// rested checks that peers at rest have empty queues and remember no removals (O14). If a
// peer died with writes that others know of and nobody has, removals are remembered
// longer, and so rested waits longer.
func (j *judge) rested() {
	if len(j.violations) > 0 || j.cloned || j.torn || j.c.spread() > maxSkew/2 {
		return
	}
	burdened := func(p *Peer) bool { return p.r.Store().Stats().Removals > 0 }
	for range 4 { // by chance, one pair of many may not have met
		if j.c.Run(resting * time.Duration(len(j.c.peers))); !slices.ContainsFunc(j.c.peers, burdened) {
			break
		}
	}
	if slices.ContainsFunc(j.c.peers, burdened) {
		j.c.Run(holding)
		j.c.reached("removals were held for what nobody has")
	}
	for _, p := range j.c.peers {
		if e := p.r.View().Stats(); e.Pending > 0 || e.QueuedBytes > 0 || len(p.inbox) > 0 {
			j.violate(p.index, "O14: at rest, %s holds %d deltas of %d bytes, %d frames", p.name, e.Pending, e.QueuedBytes, len(p.inbox))
		}
		if burdened(p) {
			j.violate(p.index, "O14: at rest, %s remembers %d removals that all have seen", p.name, p.r.Store().Stats().Removals)
		}
	}
}

package sim

import (
	"slices"

	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// check compares what p reads at key with the reference model (O2, O3).
func (j *judge) check(p *Peer, key string) {
	l := j.ledgers[key]
	if l == nil {
		return
	}
	expires := slices.ContainsFunc(l.deeds, func(d *deed) bool { return d.op.Expiry != 0 })
	if j.cloned || j.torn && (expires || !j.settled) { // checksums, which repair a torn disk, leave out entries that expire
		return
	}
	var skew uint64
	if expires {
		skew = uint64(j.c.spread().Milliseconds())
	}
	// One disk that lost a value before its removal, and one that lost the removal, make the value return.
	if (j.truncated || j.rots+j.tears > 1) && slices.ContainsFunc(l.deeds, (*deed).removes) {
		return
	}
	want, sure := l.read(key, p.r.Store().Context(), p.millis(), skew)
	if !sure {
		return
	}
	if got, _ := p.read(key); got != want && !j.ignorant && (j.settled || !j.forgotten(p, l)) {
		oracle := "O2"
		if want == "" {
			oracle = "O3"
		}
		j.violate(p.index, "%s: %s reads %s as %q; of what it has seen the model makes %q", oracle, p.name, key, got, want)
	}
}

// forgotten reports whether p may know of a removal only that it happened. A peer that
// never knew p, and has forgotten the removal's record, sends no more than that. The value
// then stays on p until the two compare checksums.
func (j *judge) forgotten(p *Peer, l *ledger) bool {
	return slices.ContainsFunc(l.deeds, func(d *deed) bool {
		removes := d.removes() && !l.prolonged(d)
		all, _ := d.seenIn(p.r.Store().Context())
		if d.clears() {
			cleared := *d
			cleared.dots = d.dots[:len(d.dots)-1] // the last is a field, or the object without any
			d = &cleared
		}
		return removes && all && !d.liveOn(p) && slices.ContainsFunc(j.c.peers, func(q *Peer) bool {
			if q == p || !q.up {
				return false
			}
			had, _ := d.seenIn(q.r.Store().Context())
			return had && !d.liveOn(q)
		})
	})
}

// liveOn reports whether all of the deed's records are live on p.
func (d *deed) liveOn(p *Peer) bool {
	held := 0
	for _, seq := range d.dots {
		p.r.Store().Live(d.actor, seq, seq, func(crdt.Delta) bool {
			held++
			return false
		})
	}
	return held == len(d.dots)
}

// removes reports whether the deed removes a value, an element or a field, at once or at a deadline.
func (d *deed) removes() bool {
	return d.op.Verb == crdt.Expire && d.op.Expiry != 0 || d.op.Verb == crdt.Delete || d.op.Verb == crdt.Remove || d.clears()
}

// full notes that a store had no room to remember a removal. A value that the removal
// covers may then arrive later, and stay.
func (j *judge) full(p *Peer) {
	j.truncated = j.truncated || j.c.cfg.Memory > 0 && p.r.Store().Stats().Truncated > 0
}

// unsure notes that the ledger of key does not have every write of key.
func (j *judge) unsure(key string) {
	if l := j.ledgers[key]; l != nil {
		l.vague = true
	}
}

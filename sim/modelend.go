package sim

import (
	"cmp"
	"math"
	"slices"

	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// end is the deadline of a key for one reader. A deadline that is set before the end of an earlier one
// prolongs that, and else begins a chain of its own. Of concurrent deadlines the longest decides.
type end struct {
	all  []*deed // the deadlines that no other takes the place of
	over []*deed // deadlines that had ended when another chain began
}

const never = math.MaxUint64

// endOf returns the deadline of the key for a reader that has seen the deeds in.
func (l *ledger) endOf(in []int) (e end) {
	for _, i := range l.live(in) {
		e.all = append(e.all, l.deeds[i])
	}
	for _, d := range e.all {
		until := e.untilOf(d)
		if slices.ContainsFunc(e.all, func(o *deed) bool { return o.chain > d.chain && until <= o.chain>>16 }) {
			e.over = append(e.over, d)
		}
	}
	return e
}

// live returns the deadlines among the deeds in that no other of them takes the place of.
func (l *ledger) live(in []int) (list []int) {
	for _, i := range in {
		if l.deeds[i].op.Verb == crdt.Expire && !slices.ContainsFunc(in, func(o int) bool { return l.prolongs(o, i) }) {
			list = append(list, i)
		}
	}
	return list
}

// prolongs reports whether the deadline o takes the place of the deadline i, directly or through one that
// its writer had seen.
func (l *ledger) prolongs(o, i int) bool {
	for m := i; m < o; m++ {
		if l.deeds[o].prolongs>>m&1 == 1 && (m == i || l.prolongs(m, i)) {
			return true
		}
	}
	return false
}

// prolong notes which deadlines d prolongs, at the time millis: those that its writer saw and that had not
// ended. The oldest chain goes on, or a new one begins.
func (l *ledger) prolong(d *deed, in []int, millis uint64) {
	e := l.endOf(in)
	d.chain = uint64(d.stamp)
	for _, i := range l.live(in) {
		if o := l.deeds[i]; !slices.Contains(e.over, o) && e.untilOf(o) > millis {
			d.prolongs |= 1 << i
			d.chain = min(d.chain, o.chain)
		}
	}
}

// of returns when what d wrote ends. A deadline is about the writes before it, in place of their own.
func (e end) of(d *deed) uint64 {
	if d.op.Verb == crdt.Expire || !slices.ContainsFunc(e.all, d.before) {
		return cmp.Or(d.op.Expiry, never)
	}
	var first *deed // of the chains that are over
	until := uint64(0)
	for _, o := range e.all {
		about := slices.ContainsFunc(e.all, func(n *deed) bool { return n.chain == o.chain && d.before(n) })
		switch {
		case !about:
		case !slices.Contains(e.over, o):
			until = max(until, e.untilOf(o))
		case first == nil || o.chain < first.chain:
			first = o
		}
	}
	if first != nil {
		return e.untilOf(first)
	}
	return until
}

// untilOf returns the end of the chain of o.
func (e end) untilOf(o *deed) (until uint64) {
	for _, d := range e.all {
		if d.chain == o.chain {
			until = max(until, cmp.Or(d.op.Expiry, never))
		}
	}
	return until
}

// returned reports whether something that had ended for the writer of one of the deeds in has not ended
// for the reader, because a deadline that this writer had not seen is longer. What that writer then
// removed depends on whether it still held what had ended.
func (l *ledger) returned(in []int, millis uint64) bool {
	end := l.endOf(in)
	return slices.ContainsFunc(in, func(o int) bool {
		return slices.ContainsFunc(in, func(i int) bool {
			return l.deeds[o].ended>>i&1 == 1 && l.deeds[i].op.Verb != crdt.Expire && l.deeds[o].op.Verb != crdt.Expire && end.of(l.deeds[i]) > millis
		})
	})
}

// prolonged reports whether d is a deadline, and the writer of a later one had seen it.
func (l *ledger) prolonged(d *deed) bool {
	i := slices.Index(l.deeds, d)
	return d.op.Verb == crdt.Expire && i < modelled && slices.ContainsFunc(l.deeds[i+1:], func(o *deed) bool {
		return o.op.Verb == crdt.Expire && o.saw>>i&1 == 1
	})
}

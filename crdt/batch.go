package crdt

import (
	"fmt"
	"math"
	"slices"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// Batch is a batch of local writes that is judged and read while it grows. It judges each
// operation as if the earlier ones had been made, and a read sees them. From Begin until
// Commit the store must not change.
type Batch struct {
	s         *Store
	stamp     clock.Timestamp
	now       uint64 // Unix milliseconds
	ops       []Op
	kinds     []Kind                 // for each operation the kind that it gives to its key or path, 0 for a Delete or an Expire
	noted     int                    // operations that keys contains
	keys      map[string]*plannedKey // keys that noted operations write; nil before the first of them
	maxGrowth int                    // upper bound of the bytes that the operations add
	trial     *Store                 // copies of keys with the operations made; nil until a read needs one
}

// plannedKey is the state of a key after the operations of the batch so far.
type plannedKey struct {
	kind     Kind            // 0 if the key is absent
	ops      []int           // indices of the batch's operations on the key so far
	elements map[string]bool // elements of a set by slot path; nil until an operation needs them
	tallies  map[string]tally
	tried    int // number of ops that Batch.trial has made
}

// tally is the state of a counter: its sum as this replica sees it, and the part of the sum
// that this replica's actor has added.
type tally struct{ sum, own int64 }

// judge admits the last of b.ops and adds its kind to b.kinds, or returns the reason why
// the store refuses it.
func (b *Batch) judge() error {
	i := len(b.ops) - 1
	b.note(i)
	kind, err := b.admit(i)
	if err == nil {
		b.kinds = append(b.kinds, kind)
	}
	return err
}

// note makes the first n operations known to the checks of later ones.
func (b *Batch) note(n int) {
	for ; b.noted < n; b.noted++ {
		b.noteOp(b.noted, b.kinds[b.noted])
	}
}

// admit returns the kind that the i-th operation gives to its key or path, 0 for a Delete,
// or the reason why the store refuses the operation.
func (b *Batch) admit(i int) (Kind, error) {
	op := &b.ops[i]
	p := b.keys[op.Key]
	have, err := b.kindBefore(op, p)
	if err != nil {
		return 0, err
	}
	if op.Verb == Expire && op.Expiry != 0 && op.Expiry <= b.now {
		return 0, &wire.ValueError{Reason: "sets a deadline that has passed; delete the key"}
	}
	var l writeCheck
	kind, err := b.s.check(op, have, &l)
	if err != nil {
		return 0, err
	}
	b.maxGrowth += op.maxGrowth(&l)
	if kind != 0 && (op.Verb != Put || len(op.Path) > 0) {
		want := kind
		if len(op.Path) > 0 {
			want = Object
		}
		if have != 0 && have != want {
			return 0, &TypeError{Key: op.Key, Want: want, Have: have}
		}
	}
	if op.Verb == Increment {
		err = b.checkCounter(op, p)
	}
	return kind, err
}

// kindBefore checks op.If, and returns the kind that the key has before op is made. It
// returns 0 if the key is absent, or if op does not depend on the kind.
func (b *Batch) kindBefore(op *Op, p *plannedKey) (Kind, error) {
	if op.If != nil {
		if p != nil {
			return 0, &OrderError{op.Key}
		}
		if v := b.s.Probe(op.Key, b.now).Version(); v != *op.If {
			return 0, &ConflictError{op.Key, *op.If, v}
		}
	}
	if op.Verb == Delete || op.Verb == Expire || op.Verb == Put && len(op.Path) == 0 && op.Kind != 0 {
		return 0, nil
	}
	return b.kindOf(op.Key, p), nil
}

// kindOf returns the kind that key has after the operations so far, 0 if it is absent. p is
// nil if they do not write key.
func (b *Batch) kindOf(key string, p *plannedKey) Kind {
	switch {
	case p == nil:
		return b.s.Probe(key, b.now).Kind()
	case b.contested(key): // a removal of one kind may have shown another
		b.replay(key, p)
		return b.trial.Probe(key, b.now).Kind()
	case p.kind == Set && b.emptied(key, p):
		return 0
	}
	return p.kind
}

// noteOp makes the i-th operation known to the checks of later ones. kind is the kind that
// the operation gives to its key or path.
func (b *Batch) noteOp(i int, kind Kind) {
	op := &b.ops[i]
	p, known := b.keys[op.Key]
	if !known {
		p = new(plannedKey)
		if b.keys == nil {
			b.keys = make(map[string]*plannedKey)
		}
		b.keys[op.Key] = p
	}
	p.ops = append(p.ops, i)
	if op.Verb != Increment {
		p.tallies = nil
	}
	if p.elements != nil {
		p.applyToElements(op)
	}
	switch {
	case op.Verb == Remove || op.Verb == Expire || op.Verb == Increment && op.Delta == 0 || op.Verb == Delete && len(op.Path) > 0:
		if !known {
			p.kind = b.s.Probe(op.Key, b.now).Kind()
		}
	case len(op.Path) > 0:
		p.kind = Object
	default:
		p.kind = kind
	}
}

// emptied reports whether the set at key has no element after the operations so far.
func (b *Batch) emptied(key string, p *plannedKey) bool {
	if !slices.ContainsFunc(p.ops, func(i int) bool { return b.ops[i].Verb == Remove || b.ops[i].Verb == Put }) {
		return false
	}
	if p.elements == nil {
		p.elements = make(map[string]bool)
		if c, ok := b.s.index.Load(key); ok && c.many() != nil {
			for _, slot := range c.many().slots {
				if r := slot[0]; r.kind == slotElement && isElementOf(r.path(), "") && len(b.s.alive(c.many(), slot, b.now)) > 0 {
					p.elements[r.path()] = true
				}
			}
		}
		for _, i := range p.ops {
			p.applyToElements(&b.ops[i])
		}
	}
	return len(p.elements) == 0
}

// applyToElements makes op on p.elements.
func (p *plannedKey) applyToElements(op *Op) {
	switch {
	case len(op.Path) > 0 || op.Verb == Expire: // neither does concern the elements of a set
	case op.Verb == Add:
		for _, v := range op.Values {
			p.elements[elementPath("", v)] = true
		}
	case op.Verb == Remove:
		for _, v := range op.Values {
			delete(p.elements, elementPath("", v))
		}
	default:
		clear(p.elements)
		for _, v := range op.Value.Elements() {
			p.elements[elementPath("", v)] = true
		}
	}
}

// checkCounter refuses an increment after which the counter, or this actor's part of it,
// would be out of range.
func (b *Batch) checkCounter(op *Op, p *plannedKey) error {
	t := b.tally(op.Key, op.Path, p)
	sum, ok := plus(t.sum, op.Delta)
	own, part := plus(t.own, op.Delta)
	if !ok || !part {
		return &wire.ValueError{Reason: fmt.Sprintf("%d on top of %d, of which this peer gave %d; a counter, and each peer's part of it, holds up to %d, and down to %d", op.Delta, t.sum, t.own, maxCount, -maxCount)}
	}
	if p != nil {
		if p.tallies == nil {
			p.tallies = make(map[string]tally)
		}
		p.tallies[pathOf(op.Path)] = tally{sum, own}
	}
	return nil
}

// tally returns the tally of the counter at path within key after the operations so far. p is
// nil if they do not write key.
func (b *Batch) tally(key string, path []string, p *plannedKey) tally {
	place := pathOf(path)
	if p != nil {
		if t, known := p.tallies[place]; known {
			return t
		}
	}
	t := renderer{b.s}.tally(key, place, b.now)
	if p != nil {
		for _, i := range p.ops {
			t = t.after(&b.ops[i], path)
		}
	}
	return t
}

// after returns the tally of the counter at the path place after op.
func (t tally) after(op *Op, place []string) tally {
	n := min(len(op.Path), len(place))
	if !slices.Equal(op.Path[:n], place[:n]) {
		return t
	}
	above, below := len(op.Path) <= len(place), len(op.Path) > len(place)
	switch {
	case op.Verb == Remove, op.Verb == Expire,
		op.Verb == Increment && op.Delta == 0,
		op.Verb == Delete && below,
		op.Verb == Patch && above && !op.Value.reaches(place[n:]):
		return t
	case op.Verb == Increment && len(op.Path) == len(place):
		t.sum, _ = plus(t.sum, op.Delta)
		t.own, _ = plus(t.own, op.Delta)
		return t
	}
	return tally{}
}

// reaches reports whether a patch with v changes the path that names lead to.
func (v Value) reaches(names []string) bool {
	for _, name := range names {
		if v.wireType() != wire.TypeMap {
			return true // v replaces an object on the path
		}
		if v = v.Field(name); v.IsZero() {
			return false
		}
	}
	return true
}

// maxCount is the greatest value of a counter, and of each actor's part of it. The least
// value is -maxCount.
const maxCount = math.MaxInt64

// plus returns a + n and whether the sum is in the range of a counter. If it is not, plus
// returns a. a must be in range.
func plus(a, n int64) (int64, bool) {
	if n > 0 && a > maxCount-n || n < 0 && (n < -maxCount || a < -maxCount-n) {
		return a, false
	}
	return a + n, true
}

// tally returns the tally of the counter at path.
func (s renderer) tally(key, path string, nowMillis uint64) (t tally) {
	c, ok := s.index.Load(key)
	if !ok || c.many() == nil {
		return t
	}
	list := s.alive(c.many(), c.many().slots[slotKey(slotCounter, path)], nowMillis)
	for _, r := range list {
		if r.actor == s.self.index {
			t.own = net(r)
		}
	}
	t.sum = total(list)
	return t
}

// net returns an actor's part of a counter, which is its record r.
func net(r *record) int64 {
	up, down := counterParts(r.val())
	return int64(up) - int64(down)
}

// total returns the sum of a counter's parts, limited to the range of a counter. The limit
// applies to the final sum only, so the result does not depend on the order of the parts.
func total(list []*record) int64 {
	var high, low int64 // the sum is high<<32 + low
	for _, r := range list {
		n := net(r)
		high, low = high+n>>32, low+n&(1<<32-1)
	}
	high, low = high+low>>32, low&(1<<32-1)
	switch {
	case high >= 1<<31:
		return maxCount
	case high < -1<<31:
		return -maxCount
	}
	return max(high<<32|low, -maxCount)
}

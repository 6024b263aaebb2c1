package crdt

import (
	"fmt"
	"math"
	"slices"

	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// unit judges operations that are made together, each as if the earlier ones were made.
type unit struct {
	s    *Store
	now  uint64
	ops  []Op
	keys map[string]*prospect // that operations of the unit write; nil before the second
	most int                  // bytes that they add at most
}

// prospect is what a key will be.
type prospect struct {
	kind     Kind            // 0: absent
	ops      []int           // those of the unit, so far
	elements map[string]bool // of a set, by slot path; nil before it matters
	tallies  map[string]tally
}

// tally is a counter: its sum as this replica sees it, and what its own actor gave.
type tally struct{ sum, own int64 }

// admit returns what the i-th operation makes its place, or why it may not.
func (u *unit) admit(i int) (Kind, error) {
	op := &u.ops[i]
	p := u.keys[op.Key]
	have, err := u.before(op, p)
	if err != nil {
		return 0, err
	}
	var l leaves
	kind, err := u.s.check(op, have, &l)
	if err != nil {
		return 0, err
	}
	u.most += op.most(&l)
	if op.Verb != Delete && (op.Verb != Put || len(op.Path) > 0) {
		want := kind
		if len(op.Path) > 0 {
			want = Object
		}
		if have != 0 && have != want {
			return 0, &TypeError{Key: op.Key, Want: want, Have: have}
		}
	}
	if op.Verb == Increment {
		err = u.count(op, p)
	}
	return kind, err
}

// before returns what the key of op is when its turn comes, as far as op depends on it.
func (u *unit) before(op *Op, p *prospect) (Kind, error) {
	if op.If != nil {
		if p != nil {
			return 0, &OrderError{op.Key}
		}
		if v := u.s.version(op.Key, u.now); v != *op.If {
			return 0, &ConflictError{op.Key, *op.If, v}
		}
	}
	switch {
	case op.Verb == Delete || op.Verb == Put && len(op.Path) == 0 && op.Kind != 0:
		return 0, nil
	case p == nil:
		return u.s.kind(op.Key, u.now), nil
	case p.kind == Set && u.emptied(op.Key, p):
		return 0, nil
	}
	return p.kind, nil
}

// note has the later operations see the i-th, which makes its place kind.
func (u *unit) note(i int, kind Kind) {
	op := &u.ops[i]
	p, known := u.keys[op.Key]
	if !known {
		p = new(prospect)
		if u.keys == nil {
			u.keys = make(map[string]*prospect)
		}
		u.keys[op.Key] = p
	}
	p.ops = append(p.ops, i)
	if op.Verb != Increment {
		p.tallies = nil
	}
	if p.elements != nil {
		p.take(op)
	}
	switch {
	case op.Verb == Remove || op.Verb == Increment && op.Delta == 0 || op.Verb == Delete && len(op.Path) > 0:
		if !known {
			p.kind = u.s.kind(op.Key, u.now)
		}
	case len(op.Path) > 0:
		p.kind = Object
	default:
		p.kind = kind
	}
}

// emptied reports whether the set at key will have no element.
func (u *unit) emptied(key string, p *prospect) bool {
	if !slices.ContainsFunc(p.ops, func(i int) bool { return u.ops[i].Verb == Remove || u.ops[i].Verb == Put }) {
		return false
	}
	if p.elements == nil {
		p.elements = make(map[string]bool)
		if c, ok := u.s.index.Load(key); ok && c.many() != nil {
			for _, slot := range c.many().slots {
				if r := slot[0]; r.kind == slotElement && isElementOf(r.path(), "") && len(alive(slot, u.now)) > 0 {
					p.elements[r.path()] = true
				}
			}
		}
		for _, i := range p.ops {
			p.take(&u.ops[i])
		}
	}
	return len(p.elements) == 0
}

// take makes op on the elements, while the key is a set.
func (p *prospect) take(op *Op) {
	switch {
	case len(op.Path) > 0: // there is nothing
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

// count refuses an increment that leaves the range of a counter, or of its own part in it.
func (u *unit) count(op *Op, p *prospect) error {
	path := pathOf(op.Path)
	var t tally
	known := false
	if p != nil {
		t, known = p.tallies[path]
	}
	if !known {
		t = renderer{u.s}.tally(op.Key, path, u.now)
		if p != nil {
			for _, i := range p.ops {
				t = t.after(&u.ops[i], op.Path)
			}
		}
	}
	sum, ok := plus(t.sum, op.Delta)
	own, part := plus(t.own, op.Delta)
	if !ok || !part {
		return &wire.ValueError{Reason: fmt.Sprintf("%d on top of %d, of which this peer gave %d; a counter, and each peer's part of it, holds up to %d, and down to %d", op.Delta, t.sum, t.own, maxCount, -maxCount)}
	}
	if p != nil {
		if p.tallies == nil {
			p.tallies = make(map[string]tally)
		}
		p.tallies[path] = tally{sum, own}
	}
	return nil
}

// after returns the counter at place as op leaves it.
func (t tally) after(op *Op, place []string) tally {
	n := min(len(op.Path), len(place))
	if !slices.Equal(op.Path[:n], place[:n]) {
		return t
	}
	above, below := len(op.Path) <= len(place), len(op.Path) > len(place)
	switch {
	case op.Verb == Remove,
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

// reaches reports whether a patch by v says anything of the place that names lead to.
func (v Value) reaches(names []string) bool {
	for _, name := range names {
		if v.wireType() != wire.TypeMap {
			return true // it stands in the way
		}
		if v = v.Field(name); v.IsZero() {
			return false
		}
	}
	return true
}

// maxCount bounds a counter, and each actor's part of it, on both sides.
const maxCount = math.MaxInt64

// plus adds n to what is in range, and reports whether the sum is.
func plus(a, n int64) (int64, bool) {
	if n > 0 && a > maxCount-n || n < 0 && (n < -maxCount || a < -maxCount-n) {
		return a, false
	}
	return a + n, true
}

// tally returns the counter at path.
func (s renderer) tally(key, path string, nowMillis uint64) (t tally) {
	c, ok := s.index.Load(key)
	if !ok || c.many() == nil {
		return t
	}
	list := alive(c.many().slots[slotKey(slotCounter, path)], nowMillis)
	for _, r := range list {
		if r.actor == s.self.index {
			t.own = net(r)
		}
	}
	t.sum = total(list)
	return t
}

// net is what one actor gave.
func net(r *record) int64 {
	up, down := counterParts(r.val())
	return int64(up) - int64(down)
}

// total adds up a counter, and stops at the ends of its range. It is exact in between,
// whatever the parts are and their order.
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

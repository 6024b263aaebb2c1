package crdt

import (
	"math"
	"slices"
	"strings"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// Sibling is one of several concurrent values of a custom key.
type Sibling struct {
	Value Value
	Dot   clock.Dot
	Stamp clock.Timestamp
}

// Entry is what a key holds, as one reader saw it. It is immutable. The zero Entry is
// that of a missing key: what its methods return is zero.
type Entry struct {
	r *record
	s *Store
}

// Value returns the value: of a set a sorted array, of an object a map, of a
// counter or max a number. It is absent for a custom key: resolve Siblings.
func (e Entry) Value() Value {
	if e.r == nil {
		return Value{}
	}
	return Value{e.r.val()}
}

// Kind returns what the key is.
func (e Entry) Kind() Kind {
	if e.r == nil {
		return 0
	}
	if e.r.ext != nil && e.r.ext.rendered != 0 {
		return e.r.ext.rendered
	}
	return Register
}

// Version returns the version of the content, 0 only if there is none.
func (e Entry) Version() Version {
	if e.r == nil {
		return 0
	}
	if e.r.ext != nil && e.r.ext.rendered != 0 {
		return e.r.ext.version
	}
	return Version(max((*e.s.published.Load())[e.r.actor].hash(e.r.seq), 1))
}

// Dot returns the latest write that is part of the value.
func (e Entry) Dot() clock.Dot {
	if e.r == nil {
		return clock.Dot{}
	}
	return clock.Dot{Actor: (*e.s.published.Load())[e.r.actor].actor, Seq: e.r.seq}
}

// Stamp returns the time of that write.
func (e Entry) Stamp() clock.Timestamp {
	if e.r == nil {
		return 0
	}
	return e.r.stamp
}

// Expiry returns until when the entry may be used, in Unix milliseconds, 0 for
// ever. Then a plain register is gone and another key must be rendered again.
func (e Entry) Expiry() uint64 {
	if e.r == nil {
		return 0
	}
	return e.r.expiry()
}

// Siblings returns the concurrent values of a custom key, sorted by dot.
func (e Entry) Siblings() []Sibling {
	if e.r == nil || e.r.ext == nil {
		return nil
	}
	return e.r.ext.siblings
}

// Same reports whether both saw the same state of the key.
func (e Entry) Same(o Entry) bool { return e.r == o.r }

// Load returns what key holds without a lock or an allocation. With fresh false
// the key must be rendered first, by Render under the owner's lock.
func (s *Store) Load(key string) (e Entry, ok, fresh bool) {
	c, found := s.index.Load(key)
	if !found {
		return Entry{}, false, true
	}
	r := c.view.Load()
	switch {
	case r == nil || r.tomb || r.gone():
		return Entry{}, false, true
	case r.stale():
		return Entry{}, false, false
	}
	return Entry{r, s}, true, true
}

// Len returns how many keys hold something.
func (s *Store) Len() int { return int(s.keys.Load()) }

// Keys calls f for each key that may hold something, in no order, until f returns
// false. Keys that come or go meanwhile may be missed. fresh is as for Load.
func (s *Store) Keys(f func(key string, e Entry, fresh bool) bool) {
	s.index.Range(func(key string, c *cell) bool {
		r := c.view.Load()
		if r == nil || r.tomb || r.gone() {
			return true
		}
		return f(key, Entry{r, s}, !r.stale())
	})
}

// Render returns what key holds at nowMillis, and publishes it to lock-free
// readers. ok is false if it holds nothing.
func (s *Store) Render(key string, nowMillis uint64) (Entry, bool) {
	c, found := s.index.Load(key)
	if !found {
		return Entry{}, false
	}
	if c.many() == nil {
		r := c.view.Load()
		if r == nil || !r.at(nowMillis) {
			return Entry{}, false
		}
		return Entry{r, s}, true
	}
	v := c.view.Load()
	if v.stale() || v.expiry() != 0 && v.expiry() <= nowMillis {
		v = renderer{s}.render(c, nowMillis)
		c.view.Store(v)
	}
	if v.tomb {
		return Entry{}, false
	}
	return Entry{v, s}, true
}

// render makes the record that readers of a key of many slots see: a removal if
// nothing is visible.
func (s renderer) render(c *cell, nowMillis uint64) *record {
	v := &record{cell: c, ext: &ext{many: c.many()}, pos: dead}
	family, top := s.family(c.many(), nowMillis)
	v.ext.expiry = c.many().nextExpiry(nowMillis)
	if family == 0 {
		v.tomb = true
		return v
	}
	v.ext.rendered = family
	v.stamp, v.seq, v.actor = top.stamp, top.seq, top.actor
	v.ext.version = s.versionOf(c.many(), nowMillis)
	v.ext.value = s.renderFamily(c.many(), family, nowMillis)
	if family == Custom {
		for _, r := range alive(c.many().slots[slotKey(slotSibling, "")], nowMillis) {
			v.ext.siblings = append(v.ext.siblings, Sibling{Value{r.val()}, clock.Dot{Actor: s.actors[r.actor].actor, Seq: r.seq}, r.stamp})
		}
		slices.SortFunc(v.ext.siblings, func(a, b Sibling) int { return a.Dot.Compare(b.Dot) })
	}
	return v
}

func (s renderer) renderFamily(m *many, family Kind, nowMillis uint64) string {
	switch family {
	case Object:
		return string(s.renderObject(m, nowMillis))
	case Set:
		return string(renderSet(elementsOf(m, "", nowMillis)))
	case Custom:
		return ""
	}
	kind := leafSlot(family)
	list := alive(m.slots[slotKey(kind, "")], nowMillis)
	return string(s.renderLeaf(list[0], list))
}

// leafSlot returns the slot of a value of kind that is one leaf.
func leafSlot(kind Kind) slotKind {
	switch kind {
	case Max:
		return slotMax
	case Counter:
		return slotCounter
	case Custom:
		return slotSibling
	}
	return slotRegister
}

// alive returns the records of a slot that are content at nowMillis.
func alive(slot []*record, nowMillis uint64) []*record {
	var list []*record
	for _, r := range slot {
		if r.at(nowMillis) {
			list = append(list, r)
		}
	}
	return list
}

// versionOf sums what is content at nowMillis: what expired may be forgotten by
// one peer and not yet by another.
func (s renderer) versionOf(m *many, nowMillis uint64) Version {
	sum := uint64(0)
	for _, slot := range m.slots {
		for _, r := range slot {
			if r.at(nowMillis) {
				sum += s.actors[r.actor].hash(r.seq)
			}
		}
	}
	return Version(max(sum, 1))
}

// nextExpiry returns when the view changes by itself, 0 for never.
func (m *many) nextExpiry(nowMillis uint64) uint64 {
	next := uint64(math.MaxUint64)
	for _, slot := range m.slots {
		for _, r := range slot {
			if e := r.expiry(); e != 0 && r.at(nowMillis) {
				next = min(next, e)
			}
		}
	}
	if next == math.MaxUint64 {
		return 0
	}
	return next
}

// kindOf returns the kind of key that a slot belongs to.
func kindOf(kind slotKind, path string) Kind {
	switch kind {
	case slotElement:
		if strings.HasPrefix(path, "\xc4") || strings.HasPrefix(path, "\xc5") || strings.HasPrefix(path, "\xc6") {
			return Set
		}
		return Object
	case slotMarker:
		return Object
	}
	if path != "" && kind < firstUnknown {
		return Object
	}
	switch kind {
	case slotRegister:
		return Register
	case slotMax:
		return Max
	case slotCounter:
		return Counter
	case slotSibling:
		return Custom
	}
	return 0
}

// family returns the visible kind of the key and its latest record: of kinds that
// were assigned concurrently the one written last.
func (s renderer) family(m *many, nowMillis uint64) (Kind, *record) {
	var family Kind
	var top *record
	for _, slot := range m.slots {
		for _, r := range slot {
			k := kindOf(r.kind, r.path())
			if k == 0 || !r.at(nowMillis) {
				continue
			}
			if top == nil || s.wins(r, top) {
				family, top = k, r
			}
		}
	}
	return family, top
}

// Alternatives returns what the key would hold if it were of the other kinds it
// has records of: kinds assigned concurrently that lost. It is empty mostly.
func (s *Store) Alternatives(key string, nowMillis uint64) map[Kind]Value {
	c, ok := s.index.Load(key)
	if !ok || c.many() == nil {
		return nil
	}
	visible, _ := renderer{s}.family(c.many(), nowMillis)
	others := make(map[Kind]Value)
	for _, slot := range c.many().slots {
		for _, r := range alive(slot, nowMillis) {
			if k := kindOf(r.kind, r.path()); k != 0 && k != visible && k != Custom {
				others[k] = Value{renderer{s}.renderFamily(c.many(), k, nowMillis)}
			}
		}
	}
	return others
}

// Vector returns the version vector of the key as its live records carry it.
func (s *Store) Vector(key string) clock.Vector {
	v := make(clock.Vector)
	c, ok := s.index.Load(key)
	if !ok {
		return v
	}
	note := func(r *record) {
		v[s.actors[r.actor].actor] = max(v[s.actors[r.actor].actor], r.seq)
		for _, p := range r.past() {
			v[s.actors[p.actor].actor] = max(v[s.actors[p.actor].actor], p.seq)
		}
	}
	if c.many() == nil {
		if r := c.view.Load(); r != nil {
			note(r)
		}
		return v
	}
	for _, slot := range c.many().slots {
		for _, r := range slot {
			note(r)
		}
	}
	for _, r := range c.many().clears {
		note(r)
	}
	return v
}

// renderLeaf encodes one leaf from its records, of which top is the latest.
func (s renderer) renderLeaf(top *record, list []*record) []byte {
	switch top.kind {
	case slotMax:
		best := list[0].val()
		for _, r := range list[1:] {
			if c, err := wire.CompareNumber(Value{r.val()}.bytes(), Value{best}.bytes()); err == nil && c > 0 {
				best = r.val()
			}
		}
		return []byte(best)
	case slotCounter:
		return wire.AppendInt(nil, total(list))
	case slotMarker:
		return wire.AppendMap(nil, 0)
	}
	return []byte(top.val())
}

func appendCounter(dst []byte, up, down uint64) []byte {
	return wire.AppendUint(wire.AppendUint(wire.AppendArray(dst, 2), up), down)
}

// counterParts reads what appendCounter wrote; from another peer, bounded.
func counterParts(val string) (up, down uint64) {
	r := wire.NewReader(Value{val}.bytes())
	r.ArrayLen()
	up, down = r.Uint(), r.Uint()
	return min(up, math.MaxInt64), min(down, math.MaxInt64)
}

// renderer makes of the records of a key what its readers see.
type renderer struct{ *Store }

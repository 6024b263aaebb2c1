package crdt

import (
	"math"
	"slices"
	"strings"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// Sibling is one of the concurrent values of a custom key.
type Sibling struct {
	Value Value
	Dot   clock.Dot
	Stamp clock.Timestamp
}

// Entry is the content of a key at the time of a read. It is immutable, and any goroutine
// may use it. The zero Entry stands for a missing key: all of its methods return zero
// values.
type Entry struct {
	r *record
	s *Store
}

// Value returns the value: a sorted array for a set, a map for an object, a number for a
// counter or a max. It is absent for a custom key, whose Siblings the caller resolves.
func (e Entry) Value() Value {
	if e.r == nil {
		return Value{}
	}
	return Value{e.r.val()}
}

// Kind returns the kind of the key, 0 if it is missing.
func (e Entry) Kind() Kind {
	if e.r == nil {
		return 0
	}
	if e.r.ext != nil && e.r.ext.renderedKind != 0 {
		return e.r.ext.renderedKind
	}
	return Register
}

// Version returns the version of the content, 0 only if the key is missing.
func (e Entry) Version() Version {
	if e.r == nil {
		return 0
	}
	if e.r.ext != nil && e.r.ext.renderedKind != 0 {
		return e.r.ext.version
	}
	return Version(max((*e.s.published.Load())[e.r.actor].hash(e.r.seq), 1))
}

// Dot returns the dot of the latest write that is part of the value.
func (e Entry) Dot() clock.Dot {
	if e.r == nil {
		return clock.Dot{}
	}
	return clock.Dot{Actor: (*e.s.published.Load())[e.r.actor].actor, Seq: e.r.seq}
}

// Stamp returns the time of the latest write that is part of the value.
func (e Entry) Stamp() clock.Timestamp {
	if e.r == nil {
		return 0
	}
	return e.r.stamp
}

// Expiry returns the time at which the entry ceases to be current, in Unix milliseconds, 0
// for never. At that time a register has expired, and any other key must be read again
// because a part of it has expired.
func (e Entry) Expiry() uint64 {
	if e.r == nil {
		return 0
	}
	return e.r.expiry()
}

// Siblings returns the concurrent values of a custom key, sorted by dot. The caller must
// not change the slice, which all readers share.
func (e Entry) Siblings() []Sibling {
	if e.r == nil || e.r.ext == nil {
		return nil
	}
	return e.r.ext.siblings
}

// Same reports whether both entries are the same state of a key. Two entries with equal
// content may differ.
func (e Entry) Same(o Entry) bool { return e.r == o.r }

// Load returns the content of key without a lock and without an allocation. Any goroutine
// may call it. ok is false if the key holds nothing. If fresh is false, Load does not know
// the content, and the caller must use Render under the owner's lock.
func (s *Store) Load(key string) (e Entry, ok, fresh bool) {
	c, found := s.index.Load(key)
	if !found {
		return Entry{}, false, true
	}
	r := c.view.Load()
	switch {
	case r == nil || r.tomb || r.expiryReported():
		return Entry{}, false, true
	case r.stale():
		return Entry{}, false, false
	}
	return Entry{r, s}, true, true
}

// Len returns the number of keys that hold content. Any goroutine may call it.
func (s *Store) Len() int { return int(s.visibleKeys.Load()) }

// Ascend calls f for each key in r that may hold something, in the order of their bytes, until
// f returns false. Keys that come or go during the call may be missed. fresh is as for Load. The
// cost grows with the number of keys in r and of those that came or went since the last call of
// Ascend; the first call sorts all keys.
func (s *Store) Ascend(r KeyRange, f func(key string, e Entry, fresh bool) bool) {
	s.index.ascend(r, func(c *cell) bool {
		v := c.view.Load()
		if v == nil || v.tomb || v.expiryReported() {
			return true
		}
		return f(c.key(), Entry{v, s}, !v.stale())
	})
}

// Render returns the content of key at nowMillis, in Unix milliseconds, and publishes it
// for Load. It returns false if the key holds nothing.
func (s *Store) Render(key string, nowMillis uint64) (Entry, bool) {
	c, found := s.index.Load(key)
	if !found {
		return Entry{}, false
	}
	if c.many() == nil {
		r := c.view.Load()
		if r == nil || !s.contentAt(nil, r, nowMillis) {
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

// render makes the record that readers see of a key with slots. The record is a removal if
// the key has no visible content.
func (s renderer) render(c *cell, nowMillis uint64) *record {
	return s.renderSlots(c, c.many(), c.many(), nowMillis)
}

// renderSlots is render from the slots of content, which may be a copy of the slots of m.
func (s renderer) renderSlots(c *cell, m, content *many, nowMillis uint64) *record {
	v := &record{cell: c, ext: &ext{many: m}, pos: dead}
	keyKind, top := s.latestKind(content, nowMillis)
	v.ext.expiry = s.nextExpiry(content, nowMillis)
	if keyKind == 0 {
		v.tomb = true
		return v
	}
	v.ext.renderedKind = keyKind
	v.stamp, v.seq, v.actor = top.stamp, top.seq, top.actor
	v.ext.version = s.versionOf(content, nowMillis)
	v.ext.value = s.renderAs(content, keyKind, nowMillis)
	if keyKind == Custom {
		for _, r := range s.alive(content, content.slots[slotKey(slotSibling, "")], nowMillis) {
			v.ext.siblings = append(v.ext.siblings, Sibling{Value{r.val()}, clock.Dot{Actor: s.actors[r.actor].actor, Seq: r.seq}, r.stamp})
		}
		slices.SortFunc(v.ext.siblings, func(a, b Sibling) int { return a.Dot.Compare(b.Dot) })
	}
	return v
}

// renderAs encodes the records of m that belong to a key of kind keyKind. The result is "" for Custom.
func (s renderer) renderAs(m *many, keyKind Kind, nowMillis uint64) string {
	switch keyKind {
	case Object:
		return string(s.renderObject(m, nowMillis))
	case Set:
		return string(renderSet(s.elementsOf(m, "", nowMillis)))
	case Custom:
		return ""
	}
	kind := leafSlot(keyKind)
	list := s.alive(m, m.slots[slotKey(kind, "")], nowMillis)
	return string(s.renderLeaf(list[0], list))
}

// leafSlot returns the kind of the slot that holds a value of a kind other than Set and
// Object.
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

// alive returns the records of a slot of m that are content at nowMillis.
func (h *history) alive(m *many, slot []*record, nowMillis uint64) []*record {
	var list []*record
	for _, r := range slot {
		if h.contentAt(m, r, nowMillis) {
			list = append(list, r)
		}
	}
	return list
}

// versionOf sums the hashes of the dots whose records are content at nowMillis. It leaves
// out expired records, because one peer may have forgotten a record that another still has.
func (s renderer) versionOf(m *many, nowMillis uint64) Version {
	sum := uint64(0)
	for _, slot := range m.slots {
		for _, r := range slot {
			if s.contentAt(m, r, nowMillis) {
				sum += s.actors[r.actor].hash(r.seq)
			}
		}
	}
	return Version(max(sum, 1))
}

// nextExpiry returns the time at which the next record expires, in Unix milliseconds, 0 for
// never.
func (h *history) nextExpiry(m *many, nowMillis uint64) uint64 {
	next := uint64(math.MaxUint64)
	for _, slot := range m.slots {
		for _, r := range slot {
			if e := h.expiryOf(m, r); e != 0 && h.contentAt(m, r, nowMillis) {
				next = min(next, e)
			}
		}
	}
	if next == math.MaxUint64 {
		return 0
	}
	return next
}

// kindOf returns the kind of a key that has this slot, 0 if this version does not know the
// slot kind.
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

// latestKind returns the kind of the key that readers see and the latest record of that
// kind. If peers assigned several kinds concurrently, it is the kind that was written last.
func (s renderer) latestKind(m *many, nowMillis uint64) (Kind, *record) {
	var keyKind Kind
	var top *record
	for _, slot := range m.slots {
		for _, r := range slot {
			k := kindOf(r.kind, r.path())
			if k == 0 || !s.contentAt(m, r, nowMillis) {
				continue
			}
			if top == nil || s.wins(r, top) {
				keyKind, top = k, r
			}
		}
	}
	return keyKind, top
}

// Alternatives returns the values of key under kinds that peers assigned concurrently and
// that lost. Custom is not among them. The map is empty unless kinds have conflicted.
func (s *Store) Alternatives(key string, nowMillis uint64) map[Kind]Value {
	c, ok := s.index.Load(key)
	if !ok || c.many() == nil {
		return nil
	}
	visible, _ := renderer{s}.latestKind(c.many(), nowMillis)
	others := make(map[Kind]Value)
	for _, slot := range c.many().slots {
		for _, r := range s.alive(c.many(), slot, nowMillis) {
			if k := kindOf(r.kind, r.path()); k != 0 && k != visible && k != Custom {
				others[k] = Value{renderer{s}.renderAs(c.many(), k, nowMillis)}
			}
		}
	}
	return others
}

// Vector returns the version vector of key: for each actor the greatest number that a live
// record of the key has or covers.
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

// renderLeaf encodes one leaf. list are the records of its slot, and top is the latest.
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

// appendCounter appends an actor's part of a counter: the sum of its increments and the sum
// of its decrements.
func appendCounter(dst []byte, up, down uint64) []byte {
	return wire.AppendUint(wire.AppendUint(wire.AppendArray(dst, 2), up), down)
}

// counterParts reads the value of a counter's record. It bounds both sums to MaxInt64,
// because the record may come from another peer.
func counterParts(val string) (up, down uint64) {
	r := wire.NewReader(Value{val}.bytes())
	r.ArrayLen()
	up, down = r.Uint(), r.Uint()
	return min(up, math.MaxInt64), min(down, math.MaxInt64)
}

// renderer makes the values that readers see from the records of a key.
type renderer struct{ *Store }

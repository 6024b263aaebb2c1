package crdt

import "slices"

// Probe answers questions about one key without rendering it. It is valid until the next change of
// the store, and only the store's owner uses it.
//
// The cost of an answer does not depend on the size of the key, unless a record has expired that
// Expire has not reported, concurrent writes have given the key several kinds, or a later version
// of the program has written to it.
type Probe struct {
	s    *Store
	cell *cell   // nil if the key is unknown
	many *many   // the slots of the key; nil if it is plain or absent
	one  *record // the register of a plain key
	now  uint64  // Unix milliseconds
}

// Probe returns the Probe of key at nowMillis, in Unix milliseconds.
func (s *Store) Probe(key string, nowMillis uint64) Probe {
	p := Probe{s: s, now: nowMillis}
	if c, ok := s.index.Load(key); ok {
		p.cell = c
		if p.many = c.many(); p.many == nil {
			p.one = c.view.Load()
		}
	}
	return p
}

// counted reports whether the counts of the key are right now. They take an expired record for
// content until Expire has reported it, and leave out kinds of slots from later versions.
func (p Probe) counted() bool { return !p.many.unknownKinds && p.s.NextExpiry() > p.now }

// Kind returns the kind of the key that a reader sees, 0 if the key is absent.
func (p Probe) Kind() Kind {
	switch {
	case p.many == nil && p.one != nil && p.s.contentAt(nil, p.one, p.now):
		return Register
	case p.many == nil:
		return 0
	}
	if keyKind, sole := p.many.soleKind(); sole && p.counted() {
		if p.many.visibleRecords == 0 {
			return 0
		}
		return keyKind
	}
	keyKind, _ := renderer{p.s}.latestKind(p.many, p.now)
	return keyKind
}

// Version returns the version of the content that a reader sees, 0 if the key is absent.
func (p Probe) Version() Version {
	switch {
	case p.Kind() == 0:
		return 0
	case p.many == nil:
		return Entry{p.one, p.s}.Version()
	case p.counted():
		return Version(max(p.many.hashes, 1))
	}
	return renderer{p.s}.versionOf(p.many, p.now)
}

// Has reports whether the key is a set with the element v.
func (p Probe) Has(v Value) bool {
	return p.Kind() == Set && len(p.s.alive(p.many, p.many.slots[slotKey(slotElement, elementPath("", v))], p.now)) > 0
}

// Count returns the number of elements of a set, 0 for a key of another kind.
func (p Probe) Count() int {
	switch {
	case p.Kind() != Set:
		return 0
	case !p.counted():
		return len(renderer{p.s}.elementsOf(p.many, "", p.now))
	}
	return p.many.elements
}

// Field returns the value at path inside an object, absent if there is none. If known is false,
// the value is an object, a set, or one of several values that concurrent writes have left, and
// the caller must render the key.
func (p Probe) Field(path []string) (v Value, known bool) {
	if p.Kind() != Object {
		return Value{}, true
	}
	for i := range path {
		if p.many.contradicts(pathOf(path[:i]), Object) {
			return Value{}, false
		}
	}
	at := pathOf(path)
	kinds := p.many.leavesAt(at)
	if at == "" || len(kinds) > 1 || p.many.unknownKinds || p.many.stockBelow(at).records > 0 {
		return Value{}, false
	}
	if len(kinds) == 1 {
		if list := p.s.alive(p.many, p.many.slots[slotKey(kinds[0], at)], p.now); len(list) > 0 {
			r := renderer{p.s}
			v = Value{string(r.renderLeaf(r.latest(list), list))}
		}
	}
	return v, true
}

// latest returns the record of list that wins against the others.
func (s renderer) latest(list []*record) *record {
	top := list[0]
	for _, r := range list[1:] {
		if s.wins(r, top) {
			top = r
		}
	}
	return top
}

// shown reports whether readers may see a record of the slot of m.
func (h *history) shown(m *many, slot []*record) bool {
	return slices.ContainsFunc(slot, func(r *record) bool { return h.visible(m, r) })
}

package crdt

import (
	"slices"
	"strings"
)

// checkCounts compares the counts of a key with what its records say at the time 0.
func (s *Store) checkCounts(t failer, c *cell) {
	t.Helper()
	m := c.many()
	if m == nil {
		return
	}
	view := renderer{s}.render(c, 0)
	if got := s.Probe(c.key(), 0).Kind(); got != view.ext.renderedKind {
		t.Fatalf("%s is taken for a %v; it is a %v", c.key(), got, view.ext.renderedKind)
	}
	if got := s.Probe(c.key(), 0).Version(); got != view.ext.version {
		t.Fatalf("the version of %s is counted as %v; it is %v", c.key(), got, view.ext.version)
	}
	s.checkParts(t, c.key(), Value{view.val()}, view.ext.renderedKind)
	keys := sortedSlots(m)
	for _, key := range keys {
		path := m.slots[key][0].path()
		if m.slots[key][0].kind == slotElement {
			continue // the path names an element and not a place
		}
		for _, kind := range []Kind{Register, Set, Max, Counter, Custom, Object} {
			other := func(key string) bool {
				slot := m.slots[key]
				return strings.HasPrefix(key[2:], path) && slices.ContainsFunc(slot, (*record).isContent) && !belongs(slot[0], path, kind)
			}
			if slices.ContainsFunc(keys, other) && !m.contradicts(path, kind) {
				t.Fatalf("content at %s%s does not belong to a %v and is not found", c.key(), pointer(path), kind)
			}
		}
	}
}

// checkParts compares the parts of key, as the store reads them alone at the time 0, with those
// of its rendered value.
func (s *Store) checkParts(t failer, key string, whole Value, kind Kind) {
	t.Helper()
	elements := 0
	for i := range 3 {
		has := s.Probe(key, 0).Has(num(i))
		if want := kind == Set && slices.Contains(whole.Elements(), num(i)); has != want {
			t.Fatalf("%s has %d: %v; it is %v", key, i, has, whole)
		}
		if has {
			elements++
		}
	}
	if n := s.Probe(key, 0).Count(); n != elements {
		t.Fatalf("%s has %d elements; it is %v", key, n, whole)
	}
	for _, path := range [][]string{{"a"}, {"b"}, {"a", "x"}, {"a", "x", "y"}, {"c"}} {
		v, known := s.Probe(key, 0).Field(path)
		want := Value{}
		if kind == Object {
			want = whole
			for _, name := range path {
				want = want.Field(name)
			}
		}
		if known && v != want {
			t.Fatalf("%s of %s is read as %v; it is %v of %v", path, key, v, want, whole)
		}
	}
}

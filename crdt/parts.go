package crdt

import (
	"cmp"
	"slices"
	"strings"

	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// WholeBytes is the greatest memory of a set or an object, in bytes, with which a notification has
// the whole value before and after a change. It is reached with about 300 small elements. The
// notifications of a larger key have a list of Parts, so that their cost does not grow with the key.
const WholeBytes = 64 << 10

// MaxParts is the greatest number of parts in one notification.
const MaxParts = 256

// Part is one changed part of a set or an object. It says what the part is after the change, in the
// form of the operation that makes it so:
//
//   - Put: the leaf at Path is Value, or there is an empty object or set at Path.
//   - Delete: there is nothing at Path.
//   - Add, Remove: Value is an element, or no element, of the set at Path. Path is empty if the key
//     is a set.
//
// A reader that has the value before the change applies the parts in their order to have the value
// after it.
type Part struct {
	Verb  Verb
	Path  []string
	Value Value
}

// Parts returns what changed of a set or an object that takes more than WholeBytes, once
// [Store.Describe] has described the change. The list is empty if more than MaxParts changed, if
// the key has just become large, or if concurrent writes have left contradictory content: the
// reader then reads the key. partial is false for another change, which has Old and New.
func (c *Change) Parts() (parts []Part, partial bool) {
	if c.large == nil || !c.large.described {
		return nil, false
	}
	return c.large.parts, true
}

// largeChange is the part of a Change that only large sets and objects have.
type largeChange struct {
	parts     []Part
	touched   []*record // records that were written, or that went
	described bool      // whether Describe has filled in parts and there
	there     bool      // whether the key has content
}

// large reports whether rendering the key may cost more than a notification should.
func (m *many) large() bool { return m != nil && m.root.allBytes > WholeBytes }

// touch notes in c that r was written or removed, if the key is large. Of the earlier change that c
// replaces, if any, before is the description.
func (c *Change) touch(r *record, before *largeChange) {
	if m := r.cell.many(); m.large() {
		c.large = cmp.Or(before, &largeChange{})
		if len(c.large.touched) <= MaxParts {
			c.large.touched = append(c.large.touched, r)
		}
	}
}

// touchAlso notes that r was removed by the write of c.
func (c *Change) touchAlso(r *record) {
	if c.large != nil {
		c.large.touched = append(c.large.touched, r)
	}
}

// Describe adds to changes of large sets and objects what they changed, as the keys are at nowMillis,
// in Unix milliseconds. [Notifications] then does not ask for the values of these keys. Only the
// store's owner calls Describe. Its cost grows with the parts that changed and not with the keys.
func (s *Store) Describe(changes []Change, nowMillis uint64) {
	type part struct {
		key    string
		expiry bool
	}
	groups := make(map[part][]*Change)
	for i := range changes {
		if c := &changes[i]; c.Lazy && c.Cause != CauseConflict {
			at := part{c.Key, c.Cause == CauseExpired}
			groups[at] = append(groups[at], c)
		} else if c.Lazy {
			s.Probe(c.Key, nowMillis).describe([]*Change{c})
		}
	}
	for at, group := range groups {
		s.Probe(at.key, nowMillis).describe(group)
	}
}

// Large reports whether the key is a set or an object that takes more than WholeBytes.
func (p Probe) Large() bool {
	if !p.many.large() {
		return false
	}
	keyKind := p.Kind()
	return keyKind == Set || keyKind == Object
}

// describe describes the changes of one key, which are all of one cause. The last of them gets the
// parts.
func (p Probe) describe(group []*Change) {
	keyKind := p.Kind()
	if !p.many.large() || keyKind != 0 && !p.Large() {
		return
	}
	d := description{p: p, known: true, slots: make(map[string]bool)}
	for _, c := range group {
		if c.Cause == CauseConflict {
			continue
		}
		if c.large == nil || len(c.large.touched) > MaxParts {
			d.known = false
			break
		}
		for _, r := range c.large.touched {
			d.note(r)
		}
	}
	parts := d.parts(keyKind)
	for i, c := range group {
		c.large = &largeChange{described: true, there: keyKind != 0}
		if i == len(group)-1 {
			c.large.parts = parts
		}
		if keyKind != 0 {
			c.Kind = keyKind
		}
	}
}

// description collects the parts of one key that changed.
type description struct {
	p       Probe
	known   bool            // whether the parts can be listed, as far as the notes go
	slots   map[string]bool // slots in touched; true if a leaf, or the removal of one, was at the slot
	touched []*record       // one record of each slot
	clears  []*record
	list    []Part
}

func (d *description) note(r *record) {
	if r.kind == slotClear {
		d.clears = append(d.clears, r)
		return
	}
	key := slotKey(r.kind, r.path())
	leaf, noted := d.slots[key]
	if !noted {
		d.touched = append(d.touched, r)
	}
	d.slots[key] = leaf || !isEmptySet(r)
}

// parts returns the parts, nil if they cannot be listed. keyKind is the kind of the key.
func (d *description) parts(keyKind Kind) []Part {
	m := d.p.many
	if _, sole := m.soleKind(); !d.known || !sole || m.unknownKinds || keyKind == 0 || len(d.touched)+len(d.clears) > MaxParts {
		return nil
	}
	slices.SortStableFunc(d.clears, func(a, b *record) int { return cmp.Compare(len(a.path()), len(b.path())) })
	for _, c := range d.clears {
		d.known = d.known && (keyKind == Object || c.path() == "")
		d.clear(c.path())
	}
	for _, r := range d.touched {
		names, element := splitPath(r.path())
		switch {
		case !d.known:
			return nil
		case !element.IsZero():
			d.element(r, names, element)
		case keyKind == Set, len(names) == 0 && r.kind != slotMarker:
			d.known = false // what does not belong to the set or the object was there beside it
		default:
			d.leaf(r, names)
		}
	}
	if !d.known {
		return nil
	}
	return d.list
}

func (d *description) add(verb Verb, path []string, v Value) {
	d.list = append(d.list, Part{verb, path, v})
}

// exact reports whether the stocks of the key have no record that readers do not see because it has
// expired.
func (d *description) exact() bool {
	return d.p.many.visibleRecords == d.p.many.root.records+d.own("")
}

// own returns the number of records that are content at path itself.
func (d *description) own(path string) (n int) {
	for _, k := range d.p.many.leavesAt(path) {
		n += len(slices.DeleteFunc(slices.Clone(d.p.many.slots[slotKey(k, path)]), func(r *record) bool { return !r.isContent() }))
	}
	return n
}

// clear adds that everything at and below path is gone, except the other parts of the list. It
// cannot if something else has survived the clear.
func (d *description) clear(path string) {
	listed := 0
	for _, r := range d.touched {
		if strings.HasPrefix(r.path(), path) {
			for _, other := range d.p.many.slots[slotKey(r.kind, r.path())] {
				if other.isContent() {
					listed++
				}
			}
		}
	}
	if !d.exact() || listed != d.p.many.stockBelow(path).records+d.own(path) {
		d.known = false
		return
	}
	names, _ := splitPath(path)
	if path == "" || listed > 0 {
		d.add(Delete, names, Value{})
		return
	}
	d.gone(names)
}

// gone adds that there is nothing at path, and nothing at the places above it that are there for its
// sake alone.
func (d *description) gone(path []string) {
	for i := range path {
		at := pathOf(path[:i+1])
		if d.p.many.stockBelow(at).records+d.own(at) == 0 {
			d.add(Delete, path[:i+1], Value{})
			return
		}
	}
	d.known = false
}

// element adds what became of an element of the set at path.
func (d *description) element(r *record, path []string, element Value) {
	m, set := d.p.many, pathOf(path)
	for i := range path {
		d.known = d.known && !m.contradicts(pathOf(path[:i]), Object)
	}
	if d.known = d.known && !m.contradicts(set, Set); !d.known {
		return
	}
	switch {
	case len(d.p.s.alive(m, m.slots[slotKey(slotElement, r.path())], d.p.now)) > 0:
		d.add(Add, path, element)
	case set == "" || m.stockBelow(elementsAt(set)).records+d.own(set) > 0:
		d.known = d.exact()
		d.add(Remove, path, element)
	default:
		d.known = d.exact()
		d.gone(path)
	}
}

// leaf adds what became of the leaf at path, or of the record that says that there is an object or
// an empty set.
func (d *description) leaf(r *record, path []string) {
	m, at := d.p.many, pathOf(path)
	below := m.stockBelow(at).records
	switch {
	case below > 0 && (r.kind == slotMarker || !d.slots[slotKey(r.kind, at)] && m.stockBelow(elementsAt(at)).records == below):
		d.known = d.exact() // the content below says as much
		return
	case at == "":
		d.add(Put, nil, Value{emptyMap})
		return
	}
	switch v, known := d.p.Field(path); {
	case !known:
		d.known = false
	case !v.IsZero():
		d.add(Put, path, v)
	default:
		d.known = d.exact()
		d.gone(path)
	}
}

// splitPath returns the names of the fields on a slot path, and the element at its end if it is
// that of an element.
func splitPath(path string) (names []string, element Value) {
	for r := wire.NewReader([]byte(path)); r.Len() > 0 && r.Err() == nil; {
		if r.Peek() != wire.TypeStr {
			return names, Value{string(r.Bin())}
		}
		names = append(names, string(r.Str()))
	}
	return names, Value{}
}

package crdt

import (
	"bytes"
	"cmp"
	"iter"
	"unsafe"

	"github.com/sentinel-peer/sentinel-peer/internal/ordered"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// Page is some of the elements of a set, or of the fields of an object. They are in the order that
// [Value.Compare] gives to the elements, or to the names of the fields.
type Page struct {
	Kind   Kind     // Set or Object, 0 if there is neither
	Names  []string // names of the fields, nil for a set
	Values []Value  // elements of the set, or values of the fields
	// Next is what the next page comes after: the last element, or the name of the last field. It is
	// absent on the last page.
	Next Value
}

// PageBytes is the number of bytes of values with which a page ends, however few entries it has.
const PageBytes = 4 << 20

// PageOf returns a page of v, the value of a set or an object: up to limit entries that come after the
// element or the name after, and the first entries if after is absent. The entries share v's memory.
func PageOf(v, after Value, limit int) Page {
	var page Page
	r := wire.NewReader(v.bytes())
	next := func() Value {
		from := len(v.raw) - r.Len()
		return Value{v.raw[from : from+len(r.Raw())]}
	}
	n := 0
	switch r.Peek() {
	case wire.TypeArray:
		page.Kind, n = Set, r.ArrayLen()
	case wire.TypeMap:
		page.Kind, n = Object, r.MapLen()
	}
	var last Value
	for size := 0; n > 0; n-- {
		id := next()
		entry := id
		if page.Kind == Object {
			entry = next()
		}
		if !after.IsZero() && id.Compare(after) <= 0 {
			continue
		}
		if len(page.Values) >= limit || size >= PageBytes {
			page.Next = last
			return page
		}
		if page.Kind == Object {
			name := wire.NewReader(id.bytes())
			page.Names = append(page.Names, string(name.Str()))
		}
		page.Values, last, size = append(page.Values, entry), id, size+len(entry.raw)
	}
	return page
}

// Place is a set or an object within a large key, or the whole of one. [Probe.Place] returns it.
type Place struct {
	list *ordered.List[string] // of the key's outline
	path []string
	at   string // the path as a slot has it
	kind Kind   // Set or Object
}

// Place returns the set or object at path in the key, so that a page of it costs what is on the page.
// ok is false if the key takes no more than WholeBytes, if it has no set and no object with content at
// path, or if concurrent writes have left contradictory content: the caller then uses PageOf. The
// first page of a key sorts its slots. For that a reader gets them from slots, which locks the store
// for itself and yields what Slots returns.
func (p Probe) Place(path []string, slots iter.Seq[string]) (place Place, ok bool) {
	if !p.Large() {
		return Place{}, false
	}
	if _, sole := p.many.soleKind(); !sole {
		return Place{}, false
	}
	for i := range path {
		if p.many.contradicts(pathOf(path[:i]), Object) {
			return Place{}, false
		}
	}
	place = Place{path: path, at: pathOf(path), kind: Object}
	if p.many.stockBelow(elementsAt(place.at)).records > 0 {
		place.kind = Set
	}
	if p.many.stockBelow(place.at).records == 0 || p.many.contradicts(place.at, place.kind) {
		return Place{}, false
	}
	place.list = p.s.outline(p.cell.key(), p.many, slots, p.now).list
	return place, true
}

// Slots returns the keys of the slots of the key that readers may see, in no order. It copies a pointer
// for each record, so that the caller may go through the keys without the lock of the store's owner.
func (p Probe) Slots() iter.Seq[string] {
	x := p.snapshot()
	beside, content := &history{actors: x.actors}, &many{deadline: x.deadline}
	return func(yield func(string) bool) {
		from := 0
		for i, to := range x.ends {
			if beside.shown(content, x.records[from:to]) && !yield(x.keys[i]) {
				return
			}
			from = to
		}
	}
}

// Excerpt is consecutive entries of a Place. [Place.After] finds them without the lock of the store's
// owner, [Probe.Fill] reads them with it, and Page makes the page without it.
type Excerpt struct {
	place Place
	slots []string // keys of the slots of the entries, in their order
	ids   []Value  // for each slot the element, or the name of the field, that it belongs to
	more  bool     // more entries follow
	shot  *Snapshot
}

// maxExcerptSlots is the number of slots with which an excerpt ends, however few entries it has.
const maxExcerptSlots = 1 << 14

// After returns the first limit entries that come after the element or the name after, and the first of
// all if after is absent. Any goroutine may call it.
func (l Place) After(after Value, limit int) *Excerpt {
	x := &Excerpt{place: l}
	from := l.at
	switch {
	case after.IsZero():
	case l.kind == Set:
		from = elementPath(l.at, after) + behind
	default:
		from += after.raw + behind
	}
	entries := 0
	var last Value
	l.list.Ascend(slotKey(0, from), func(slot string) bool {
		id, ok := l.entry(slot)
		switch {
		case !ok:
			return slot[2:] == l.at
		case id != last:
			if entries++; entries > limit || len(x.slots) >= maxExcerptSlots {
				x.more = true
				return false
			}
			last = id
		}
		x.slots, x.ids = append(x.slots, slot), append(x.ids, id)
		return true
	})
	return x
}

// entry returns the element, or the name of the field, that a slot belongs to. ok is false if the slot
// is not below the place.
func (l Place) entry(slot string) (id Value, ok bool) {
	path := slot[2:]
	if len(path) <= len(l.at) || path[:len(l.at)] != l.at || isBin(path[len(l.at)]) != (l.kind == Set) {
		return Value{}, false
	}
	rest := segmentsOf(path[len(l.at):])
	end := len(path)
	if l.kind == Set {
		n := len(rest.Bin())
		return Value{path[end-n:]}, true
	}
	return Value{path[len(l.at) : len(l.at)+len(rest.Raw())]}, true
}

// Fill reads the entries of x from the key, of which x must be. It ends x with the entry that reaches
// PageBytes.
func (p Probe) Fill(x *Excerpt) {
	x.shot = p.blank(len(x.slots))
	if p.many == nil {
		return
	}
	size := 0
	for i, key := range x.slots {
		if i > 0 && size >= PageBytes && x.ids[i] != x.ids[i-1] {
			x.slots, x.ids, x.more = x.slots[:i], x.ids[:i], true
			break
		}
		records := p.many.slots[key]
		for _, r := range records {
			size += len(r.val()) + len(r.path())
		}
		x.shot.add(key, records)
	}
}

// Page returns the page. It may be empty although more pages follow, if what was on it is gone. Any
// goroutine may call it, once, after Fill.
func (x *Excerpt) Page() Page {
	e, _ := x.shot.Render()
	v := e.Value()
	for _, name := range x.place.path {
		v = v.Field(name)
	}
	page := PageOf(v, Value{}, len(x.slots))
	page.Kind = x.place.kind
	if page.Next.IsZero() && x.more {
		page.Next = x.ids[len(x.ids)-1]
	}
	return page
}

// behind is a segment that comes after every name and every element in the order of slots.
const behind = emptyMap

// compareSlots returns the order of two slots by their keys, which is that of their paths, segment by
// segment. What is at a path comes before what is below it, and names come before elements.
func compareSlots(a, b string) int {
	x, y := segmentsOf(a[2:]), segmentsOf(b[2:])
	for x.Len() > 0 && y.Len() > 0 {
		p, q := x.Peek(), y.Peek()
		order := cmp.Compare(p, q)
		if p == q && p == wire.TypeStr {
			order = bytes.Compare(x.Str(), y.Str())
		} else if p == q {
			order = wire.Compare(x.Bin(), y.Bin())
		}
		if order != 0 {
			return order
		}
	}
	return cmp.Or(cmp.Compare(x.Len(), y.Len()), cmp.Compare(a[:2], b[:2]))
}

// segmentsOf returns a reader of the segments of a slot path.
func segmentsOf(path string) wire.Reader {
	return wire.NewReader(unsafe.Slice(unsafe.StringData(path), len(path)))
}

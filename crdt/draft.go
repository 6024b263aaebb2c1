package crdt

import (
	"cmp"
	"maps"
	"slices"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// draft computes how much memory a key will take after the operations of a batch, without
// making them. It follows the writer step by step: a method with the name of a writer's
// method accounts for the records that the writer's method writes. It looks at no more of
// the key than an operation touches, so its cost does not depend on the size of the key.
//
// A place is a prefix of a slot path that ends with a whole name, or elementsAt such a
// prefix, where the elements of a set are.
type draft struct {
	s      *Store
	now    uint64 // Unix milliseconds
	stamp  clock.Timestamp
	key    string
	plain  *record // the register of a plain key
	many   *many   // the slots of another key; if both are nil, the key is absent
	growth int     // bytes that the operations add; negative if they free memory

	// The changes of the batch so far, by slot and by place. An edit has no effect
	// if its step is before the step in which a place around it was cleared.
	slotEdits    map[string]edit
	belowEdits   map[string]edit
	cleared      map[string]int // the step in which a place was last cleared
	step         int
	keyCounted   bool // whether keyMemory and the key's bytes are accounted for
	slotsCounted bool // whether manyMemory is accounted for
	ends         bool // whether the batch has set a deadline
}

// edit is the stock of a slot or place from a step of the draft on.
type edit struct {
	stock
	step int
}

func newDraft(s *Store, key string, nowMillis uint64) *draft {
	d := &draft{s: s, now: nowMillis, key: key, slotEdits: make(map[string]edit), belowEdits: make(map[string]edit), cleared: make(map[string]int)}
	if c, ok := s.index.Load(key); ok {
		d.keyCounted, d.many = true, c.many()
		if d.slotsCounted = d.many != nil; !d.slotsCounted {
			d.plain = c.view.Load()
		}
	}
	return d
}

// clearedAt returns the step in which path, or a place that contains it, was last cleared,
// 0 for never.
func (d *draft) clearedAt(path string) (step int) {
	if len(d.cleared) > 0 {
		places(path, func(place string) { step = max(step, d.cleared[place]) })
	}
	return step
}

// slotStock returns the stock of one slot.
func (d *draft) slotStock(kind slotKind, path string) (sum stock) {
	key, since := slotKey(kind, path), d.clearedAt(path)
	switch e, ok := d.slotEdits[key]; {
	case ok && e.step > since:
		return e.stock
	case since > 0:
		return stock{}
	case d.many != nil:
		for _, r := range d.many.slots[key] {
			sum = sum.plus(r.stock())
		}
	case d.plain != nil && key == plainSlot:
		return d.plain.stock()
	}
	return sum
}

// stockBelow returns the stock of all slots strictly below a place.
func (d *draft) stockBelow(place string) stock {
	since := d.clearedAt(place)
	switch e, ok := d.belowEdits[place]; {
	case ok && e.step > since:
		return e.stock
	case since > 0 || d.many == nil:
		return stock{}
	}
	return d.many.stockBelow(place)
}

// shift adds change to the stock below each place above path, and to the growth of the key.
func (d *draft) shift(path string, change stock) {
	d.step++
	places(path, func(place string) {
		if place != path {
			d.belowEdits[place] = edit{d.stockBelow(place).plus(change), d.step}
		}
	})
	d.growth += change.allBytes
}

// setSlot replaces the stock of a slot.
func (d *draft) setSlot(kind slotKind, path string, to stock) {
	d.shift(path, to.minus(d.slotStock(kind, path)))
	d.slotEdits[slotKey(kind, path)] = edit{to, d.step}
}

// put accounts for a value of n bytes that replaces the content of a slot.
func (d *draft) put(kind slotKind, path string, n int, expires bool) {
	size := kind.memory(path, n)
	plain := kind == slotRegister && path == ""
	if plain && (expires || n > maxInline) {
		size += extMemory
	}
	d.grow(plain)
	d.setSlot(kind, path, stock{1, size, size})
}

// grow accounts for the memory of a new key, and for that of its slots if the write is not
// a plain register.
func (d *draft) grow(plain bool) {
	if !d.keyCounted {
		d.keyCounted = true
		d.growth += keyMemory + len(d.key)
	}
	if !plain && !d.slotsCounted {
		d.slotsCounted = true
		d.growth += manyMemory
	}
}

func (d *draft) run(op *Op, kind Kind) {
	path := pathOf(op.Path)
	expires := op.Expiry != 0
	switch op.Verb {
	case Delete:
		if d.clear(path) && path != "" {
			d.putMarker(pathOf(op.Path[:len(op.Path)-1]), expires)
		}
	case Put:
		if op.nulls() {
			in := op.Path[:len(op.Path)-1]
			d.clearContradicted(in, pathOf(in), Object)
			d.patch(pathOf(in), nullField(op.Path[len(in)]), expires)
			break
		}
		d.clearContradicted(op.Path, path, kind)
		d.assign(op, kind, path)
	case Add:
		d.clearContradicted(op.Path, path, Set)
		for _, v := range op.Values {
			d.put(slotElement, elementPath(path, v), 0, expires)
		}
	case Remove:
		d.remove(path, op.Values, expires)
	case Increment:
		if op.Delta != 0 {
			d.clearContradicted(op.Path, path, Counter)
			d.increment(path, op.Delta)
		}
	case Bump:
		d.clearContradicted(op.Path, path, Max)
		d.bump(op, path)
	case Patch:
		d.clearContradicted(op.Path, path, Object)
		d.patch(path, op.Value.bytes(), expires)
	case Expire:
		d.setDeadline()
	}
}

// setDeadline leaves out that old chains may have ended, and so never says too little.
func (d *draft) setDeadline() {
	if here, _ := d.ownStock(""); here.records+d.stockBelow("").records == 0 || d.step == 0 && d.s.Probe(d.key, max(d.now, d.stamp.Millis())).Kind() == 0 {
		return
	}
	d.grow(false)
	path, was := chainPath(0), 0
	if d.many != nil && len(d.many.deadline.chains) > 0 {
		path = d.many.deadline.chains[0].last.path()
		for _, r := range d.many.slots[slotKey(slotDeadline, path)] {
			was += r.memory()
		}
	}
	if !d.ends {
		d.growth += slotDeadline.memory(path, 0) - was
	}
	d.ends = true
}

func (d *draft) assign(op *Op, kind Kind, path string) {
	expires := op.Expiry != 0
	switch kind {
	case Max:
		d.bump(op, path)
	case Set:
		d.assignSet(op, path)
	case Object:
		d.clear(path)
		d.patch(path, op.Value.bytes(), expires)
	default:
		d.put(leafSlot(kind), path, len(op.Value.raw), expires)
	}
}

func (d *draft) putMarker(path string, expires bool) {
	d.put(slotMarker, path, len(emptyMap), expires)
}

func (d *draft) patch(path string, raw []byte, expires bool) {
	sets, removed := false, false
	r := wire.NewReader(raw)
	for range r.MapLen() {
		at := string(wire.AppendStr([]byte(path), r.Str()))
		valueType := r.Peek()
		sets = sets || valueType != wire.TypeNil
		value := r.Raw()
		switch valueType {
		case wire.TypeNil:
			removed = d.clear(at) || removed
		case wire.TypeMap:
			d.clearExcept(at, Object)
			d.patch(at, value, expires)
		case wire.TypeArray:
			d.clearExcept(at, Set)
			elements := wire.NewReader(value)
			k := elements.ArrayLen()
			if k == 0 && !d.holds(at) {
				d.put(slotRegister, at, len(emptySet), expires)
			}
			for range k {
				d.put(slotElement, elementPath(at, Value{string(elements.Raw())}), 0, expires)
			}
		default:
			d.clearExcept(at, Register)
			d.put(slotRegister, at, len(value), expires)
		}
	}
	if !sets && (removed || !d.holds(path)) {
		d.putMarker(path, expires)
	}
}

// holds reports whether anything is at or below path.
func (d *draft) holds(path string) bool {
	here, _ := d.ownStock(path)
	return here.records+d.stockBelow(path).records > 0
}

// assignSet leaves an element as it is if it stays an element with the same expiry.
func (d *draft) assignSet(op *Op, path string) {
	want := make(map[string]stock)
	for _, v := range op.Value.Elements() {
		at := elementPath(path, v)
		if _, twice := want[at]; !twice {
			want[at] = d.slotStock(slotElement, at)
		}
	}
	d.removeContentBelow(elementsAt(path))
	for _, at := range slices.Sorted(maps.Keys(want)) {
		switch was := want[at]; {
		case was.records > 0 && d.hasExpiry(at, op.Expiry):
			d.setSlot(slotElement, at, was)
		default:
			d.put(slotElement, at, 0, op.Expiry != 0)
			d.shift(at, stock{allBytes: was.contentBytes - was.allBytes}) // the add covers the removals there
		}
	}
	if len(want) == 0 && path != "" {
		d.put(slotRegister, path, len(emptySet), op.Expiry != 0)
	}
}

// hasExpiry reports whether the element at the path at has this expiry already.
func (d *draft) hasExpiry(at string, expiry uint64) bool {
	if d.many == nil {
		return false
	}
	list := d.s.alive(d.many, d.many.slots[slotKey(slotElement, at)], d.now)
	return d.s.lastExpiry(d.many, list) == cmp.Or(expiry, never)
}

func (d *draft) remove(path string, values []Value, expires bool) {
	removed := false
	for _, v := range values {
		at := elementPath(path, v)
		removed = removed || d.slotStock(slotElement, at).records > 0
		d.vacate(slotElement, at)
	}
	if removed && path != "" {
		d.put(slotRegister, path, len(emptySet), expires)
	}
}

// increment leaves the counts of other actors as they are. If this actor has a count
// already, the increment never adds memory: the store must not refuse it for the few bytes
// by which a count becomes longer.
func (d *draft) increment(path string, n int64) {
	d.grow(false)
	size := slotCounter.memory(path, len(renderer{d.s}.increased(d.many, path, n, d.now)))
	if _, ok := d.slotEdits[slotKey(slotCounter, path)]; ok || d.many == nil || d.clearedAt(path) > 0 {
		if was := d.slotStock(slotCounter, path); was.records == 0 {
			d.setSlot(slotCounter, path, stock{1, size, size})
		}
		return
	}
	var others, own stock
	for _, r := range d.many.slots[slotKey(slotCounter, path)] {
		if r.isContent() && r.actor != d.s.self.index {
			others = others.plus(r.stock())
		} else if r.isContent() {
			own = r.stock()
		}
	}
	if own.records > 0 {
		size = min(size, own.contentBytes)
	}
	d.setSlot(slotCounter, path, others.plus(stock{1, size, size}))
}

func (d *draft) bump(op *Op, path string) {
	if _, ok := d.slotEdits[slotKey(slotMax, path)]; ok || d.many == nil || d.clearedAt(path) > 0 {
		d.put(slotMax, path, len(op.Value.raw), op.Expiry != 0)
		return
	}
	if v, rises := d.s.raised(d.many, d.many.slots[slotKey(slotMax, path)], op.Value, op.Expiry, d.now); rises {
		d.put(slotMax, path, len(v.raw), op.Expiry != 0)
	}
}

package crdt

import (
	"cmp"
	"maps"
	"slices"

	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// draft says what a key will take as the operations of a unit leave it. It follows the
// writer step by step, and looks at no more of the key than an operation touches.
type draft struct {
	s     *Store
	now   uint64
	key   string
	plain *record // of a key that is one register
	many  *many   // of another one; both nil: absent
	adds  int     // bytes, below 0 if they free some

	// What the unit has changed, by slot and by place. What it wrote before it cleared a
	// place around is not there any more.
	slots   map[string]edit
	below   map[string]edit
	cleared map[string]int // places, and when
	step    int
	keyed   bool // the key itself is counted
	slotted bool // its slots are
}

// edit is what a slot or place holds since a step of the draft.
type edit struct {
	stock
	step int
}

func newDraft(s *Store, key string, nowMillis uint64) *draft {
	d := &draft{s: s, now: nowMillis, key: key, slots: make(map[string]edit), below: make(map[string]edit), cleared: make(map[string]int)}
	if c, ok := s.index.Load(key); ok {
		d.keyed, d.many = true, c.many()
		if d.slotted = d.many != nil; !d.slotted {
			d.plain = c.view.Load()
		}
	}
	return d
}

// clearedAt returns when the place that path leads to was last cleared, 0 for never.
func (d *draft) clearedAt(path string) (step int) {
	if len(d.cleared) > 0 {
		places(path, func(place string) { step = max(step, d.cleared[place]) })
	}
	return step
}

// slot returns what is at a slot.
func (d *draft) slot(kind slotKind, path string) (sum stock) {
	key, since := slotKey(kind, path), d.clearedAt(path)
	switch e, ok := d.slots[key]; {
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

// inside returns what is below a place.
func (d *draft) inside(place string) stock {
	since := d.clearedAt(place)
	switch e, ok := d.below[place]; {
	case ok && e.step > since:
		return e.stock
	case since > 0 || d.many == nil:
		return stock{}
	}
	return d.many.inside(place)
}

// shift adds change to what is below the places above path, and to the whole.
func (d *draft) shift(path string, change stock) {
	d.step++
	places(path, func(place string) {
		if place != path {
			d.below[place] = edit{d.inside(place).plus(change), d.step}
		}
	})
	d.adds += change.all
}

// set makes a slot hold what is given.
func (d *draft) set(kind slotKind, path string, to stock) {
	d.shift(path, to.minus(d.slot(kind, path)))
	d.slots[slotKey(kind, path)] = edit{to, d.step}
}

// put writes a value of n bytes in place of what is at a slot.
func (d *draft) put(kind slotKind, path string, n int, expires bool) {
	size := kind.memory(path, n)
	plain := kind == slotRegister && path == ""
	if plain && (expires || n > maxInline) {
		size += extMemory
	}
	d.grow(plain)
	d.set(kind, path, stock{1, size, size})
}

// grow counts the key, and its slots unless it is plain, once there is something.
func (d *draft) grow(plain bool) {
	if !d.keyed {
		d.keyed = true
		d.adds += keyMemory + len(d.key)
	}
	if !plain && !d.slotted {
		d.slotted = true
		d.adds += manyMemory
	}
}

func (d *draft) run(op *Op, kind Kind) {
	path := pathOf(op.Path)
	expires := op.Expiry != 0
	switch op.Verb {
	case Delete:
		if d.clear(path) && path != "" {
			d.mark(pathOf(op.Path[:len(op.Path)-1]), expires)
		}
	case Put:
		if op.nulls() {
			in := op.Path[:len(op.Path)-1]
			d.makeRoom(in, pathOf(in), Object)
			d.patch(pathOf(in), nullField(op.Path[len(in)]), expires)
			break
		}
		d.makeRoom(op.Path, path, kind)
		d.assign(op, kind, path)
	case Add:
		d.makeRoom(op.Path, path, Set)
		for _, v := range op.Values {
			d.put(slotElement, elementPath(path, v), 0, expires)
		}
	case Remove:
		d.remove(path, op.Values, expires)
	case Increment:
		if op.Delta != 0 {
			d.makeRoom(op.Path, path, Counter)
			d.increment(path, op.Delta)
		}
	case Bump:
		d.makeRoom(op.Path, path, Max)
		d.bump(op, path)
	case Patch:
		d.makeRoom(op.Path, path, Object)
		d.patch(path, op.Value.bytes(), expires)
	}
}

func (d *draft) assign(op *Op, kind Kind, path string) {
	expires := op.Expiry != 0
	switch kind {
	case Max:
		d.bump(op, path)
	case Set:
		d.become(op, path)
	case Object:
		d.clear(path)
		d.patch(path, op.Value.bytes(), expires)
	default:
		d.put(leafSlot(kind), path, len(op.Value.raw), expires)
	}
}

// mark is as the writer's.
func (d *draft) mark(path string, expires bool) {
	d.put(slotMarker, path, len(emptyMap), expires)
}

// patch is as the writer's.
func (d *draft) patch(path string, raw []byte, expires bool) {
	sets, removed := false, false
	r := wire.NewReader(raw)
	for range r.MapLen() {
		at := string(wire.AppendStr([]byte(path), r.Str()))
		kind := r.Peek()
		sets = sets || kind != wire.TypeNil
		value := r.Raw()
		switch kind {
		case wire.TypeNil:
			removed = d.clear(at) || removed
		case wire.TypeMap:
			d.clearLeaf(at, Object)
			d.patch(at, value, expires)
		case wire.TypeArray:
			d.clearLeaf(at, Set)
			elements := wire.NewReader(value)
			k := elements.ArrayLen()
			if k == 0 && !d.holds(at) {
				d.put(slotRegister, at, len(emptySet), expires)
			}
			for range k {
				d.put(slotElement, elementPath(at, Value{string(elements.Raw())}), 0, expires)
			}
		default:
			d.clearLeaf(at, Register)
			d.put(slotRegister, at, len(value), expires)
		}
	}
	if !sets && (removed || !d.holds(path)) {
		d.mark(path, expires)
	}
}

// holds reports whether anything is at or below path.
func (d *draft) holds(path string) bool {
	here, _ := d.at(path)
	return here.n+d.inside(path).n > 0
}

// become is as the writer's: what is to be an element as before stays as it is.
func (d *draft) become(op *Op, path string) {
	want := make(map[string]stock)
	for _, v := range op.Value.Elements() {
		at := elementPath(path, v)
		if _, twice := want[at]; !twice {
			want[at] = d.slot(slotElement, at)
		}
	}
	d.empty(elementsAt(path))
	for _, at := range slices.Sorted(maps.Keys(want)) {
		switch was := want[at]; {
		case was.n > 0 && d.lasts(at, op.Expiry):
			d.set(slotElement, at, was)
		default:
			d.put(slotElement, at, 0, op.Expiry != 0)
			d.shift(at, stock{all: was.content - was.all}) // of removals, which it replaces
		}
	}
	if len(want) == 0 && path != "" {
		d.put(slotRegister, path, len(emptySet), op.Expiry != 0)
	}
}

// lasts reports whether an element is to expire when the store says it does.
func (d *draft) lasts(at string, expiry uint64) bool {
	if d.many == nil {
		return false
	}
	list := alive(d.many.slots[slotKey(slotElement, at)], d.now)
	return lasting(list) == cmp.Or(expiry, never)
}

// remove is as the writer's.
func (d *draft) remove(path string, values []Value, expires bool) {
	removed := false
	for _, v := range values {
		at := elementPath(path, v)
		removed = removed || d.slot(slotElement, at).n > 0
		d.vacate(slotElement, at)
	}
	if removed && path != "" {
		d.put(slotRegister, path, len(emptySet), expires)
	}
}

// increment leaves the counts of others. This peer's own count is a few bytes that only
// rise, and for which there is always room.
func (d *draft) increment(path string, n int64) {
	d.grow(false)
	size := slotCounter.memory(path, len(renderer{d.s}.increased(d.many, path, n, d.now)))
	if _, ok := d.slots[slotKey(slotCounter, path)]; ok || d.many == nil || d.clearedAt(path) > 0 {
		if was := d.slot(slotCounter, path); was.n == 0 {
			d.set(slotCounter, path, stock{1, size, size})
		}
		return
	}
	var others, own stock
	for _, r := range d.many.slots[slotKey(slotCounter, path)] {
		if r.counts() && r.actor != d.s.self.index {
			others = others.plus(r.stock())
		} else if r.counts() {
			own = r.stock()
		}
	}
	if own.n > 0 {
		size = min(size, own.content)
	}
	d.set(slotCounter, path, others.plus(stock{1, size, size}))
}

// bump is as the writer's.
func (d *draft) bump(op *Op, path string) {
	if _, ok := d.slots[slotKey(slotMax, path)]; ok || d.many == nil || d.clearedAt(path) > 0 {
		d.put(slotMax, path, len(op.Value.raw), op.Expiry != 0)
		return
	}
	if v, rises := raised(d.many.slots[slotKey(slotMax, path)], op.Value, op.Expiry, d.now); rises {
		d.put(slotMax, path, len(v.raw), op.Expiry != 0)
	}
}

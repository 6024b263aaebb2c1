package sim

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// ledger is the reference model of one key. It keeps every acknowledged write of the key,
// with the writes that its writer had seen. The value that a peer must read follows from
// the writes that the peer has seen, by the plain definition of each type. No state of the
// store enters into it.
type ledger struct {
	deeds []*deed
	vague bool // the ledger cannot say what a peer must read
}

// modelled is the greatest number of deeds that a ledger can answer for: deed.saw has a
// bit for each.
const modelled = 64

// enter adds a deed whose writer had seen the context c at the time millis of its clock.
func (l *ledger) enter(d *deed, c *clock.CausalContext, millis uint64, m *memo) {
	var in []int
	for i, o := range l.deeds[:min(len(l.deeds), modelled)] {
		all, any := o.seenIn(c)
		if all {
			d.saw |= 1 << i
			in = append(in, i)
		}
		l.vague = l.vague || any && !all
	}
	verbs := families[d.family()]
	l.vague = l.vague || verbs != nil && d.op.Verb != crdt.Expire && !slices.Contains(verbs, d.op.Verb)
	if d.op.Verb == crdt.Expire {
		millis = max(millis, d.stamp.Millis())
		l.vague = l.vague || l.crosses(d, millis)
		l.prolong(d, in, millis)
	}
	end := l.endOf(in)
	for _, i := range in {
		if o := l.deeds[i]; o.op.Verb != crdt.Expire && end.of(o) <= millis {
			d.ended |= 1 << i
		}
	}
	l.vague = l.vague || (d.family() == "obj") != (d.op.Kind == crdt.Object) && d.op.Verb == crdt.Put
	switch d.family() {
	case "set":
		d.had = l.elements(in, millis, true)
	case "obj":
		d.has = l.fields(in, millis, false)
		d.fields = fieldsOf(d.op, d.has, m)
		l.vague = l.vague || len(d.has) != len(l.fields(in, millis, true))
	case "max":
		if top := l.greatest(in, millis); top != nil && d.op.Verb == crdt.Bump && top.op.Value.Compare(d.op.Value) > 0 {
			d.op.Value = top.op.Value // the bump only prolongs the maximum
		}
	}
	d.text = m.text(d.op.Value)
	l.deeds = append(l.deeds, d)
}

// crosses reports whether d, a deadline that is set at millis, comes after the end by another one that
// its writer has not seen, or the other way round, by stamps. If one of the writers had forgotten a
// deadline that was about nothing, the two do not prolong one another, and what had ended stays ended.
func (l *ledger) crosses(d *deed, millis uint64) bool {
	ended := func(o *deed, at uint64) bool { return o.op.Expiry != 0 && o.op.Expiry <= at }
	for i, o := range l.deeds[:min(len(l.deeds), modelled)] {
		if o.op.Verb == crdt.Expire && d.saw>>i&1 == 0 && (ended(o, millis) || ended(d, o.stamp.Millis())) {
			return true
		}
	}
	return false
}

// predates reports whether d, the last deed, has an earlier stamp than a removal, or than a write
// that expires, that the writer had not seen. Such a writer has restarted without memory, with a clock behind.
func (l *ledger) predates(d *deed) bool {
	for i, o := range l.deeds[:min(len(l.deeds)-1, modelled)] {
		ends := o.op.Verb == crdt.Delete || o.op.Verb == crdt.Expire || o.clears() || o.op.Expiry != 0
		if ends && d.saw>>i&1 == 0 && d.stamp < o.stamp {
			return true
		}
	}
	return false
}

// families are the first parts of the keys that are modelled, with the operations that the
// model understands there besides deadlines.
var families = map[string][]crdt.Verb{
	"reg":   {crdt.Put, crdt.Delete},
	"once":  {crdt.Put, crdt.Delete},
	"set":   {crdt.Add, crdt.Remove, crdt.Delete},
	"count": {crdt.Increment, crdt.Delete},
	"max":   {crdt.Bump, crdt.Delete},
	"obj":   {crdt.Put, crdt.Patch, crdt.Delete},
}

// family returns the first part of the key.
func (d *deed) family() string {
	family, _, _ := strings.Cut(d.op.Key, "/")
	return family
}

// read returns the JSON that key holds for a reader with the context c, or "" if the key is
// absent. The model is not sure of a key that changed its type or has too many writes. Nor
// is it sure of an entry that expires within skew milliseconds: a peer whose clock is that
// far ahead may have dropped it.
func (l *ledger) read(key string, c *clock.CausalContext, millis, skew uint64) (want string, sure bool) {
	if len(l.deeds) > modelled || l.vague {
		return "", false
	}
	var in []int
	for i, d := range l.deeds {
		all, any := d.seenIn(c)
		switch {
		case all:
			in = append(in, i)
		case any:
			return "", false // the reader has seen a part of a write of several records
		}
	}
	if l.returned(in, millis) || l.returned(in, millis+skew) {
		return "", false
	}
	family, _, _ := strings.Cut(key, "/")
	want, sure = l.readAt(family, in, millis)
	if skew > 0 && sure {
		later, known := l.readAt(family, in, millis+skew)
		sure = known && later == want
	}
	return want, sure
}

// readAt returns what a reader that has seen the deeds in must read at the time millis.
func (l *ledger) readAt(family string, in []int, millis uint64) (want string, sure bool) {
	switch family {
	case "reg", "once":
		return l.register(in, millis), true
	case "set":
		return l.set(in, millis)
	case "count":
		return l.counter(in, millis)
	case "max":
		if top := l.greatest(in, millis); top != nil {
			return top.text, true
		}
		return "", true
	case "obj":
		return l.object(in, millis)
	}
	return "", false
}

// before reports whether d comes before o in the order of writes: by stamp, then by dot.
func (d *deed) before(o *deed) bool {
	return cmp.Or(cmp.Compare(d.stamp, o.stamp), d.actor.Compare(o.actor), cmp.Compare(d.dots[0], o.dots[0])) < 0
}

// saw reports whether the writer of deed i had seen deed k.
func (l *ledger) saw(i, k int) bool { return l.deeds[i].saw>>k&1 == 1 }

// known returns the deletes among the deeds in, and among all deeds that their writers had
// seen, directly or through the deeds that those had seen.
func (l *ledger) known(in []int) []int {
	var deletes []int
	visited := map[int]bool{}
	var visit func(i int)
	visit = func(i int) {
		if visited[i] {
			return
		}
		visited[i] = true
		if l.deeds[i].op.Verb == crdt.Delete {
			deletes = append(deletes, i)
		}
		for _, m := range l.seen(i) {
			visit(m)
		}
	}
	for _, i := range in {
		visit(i)
	}
	return deletes
}

// overwrites reports whether deed o overwrites deed a at a slot. A write of a slot
// overwrites all writes of the slot that its writer had seen, and what those overwrote. The
// function at says which deeds write the slot.
func (l *ledger) overwrites(o, a int, at func(int) bool) bool {
	if o == a || !at(o) {
		return false
	}
	if l.saw(o, a) {
		return true
	}
	for m := a + 1; m < o; m++ { // deeds are in the order of time
		if l.saw(o, m) && l.overwrites(m, a, at) {
			return true
		}
	}
	return false
}

// register returns the value of a register: that of the last write. The lists in, here and
// below, are the indexes of the deeds that the reader has seen.
func (l *ledger) register(in []int, millis uint64) string {
	var last *deed
	for _, i := range in {
		if d := l.deeds[i]; d.op.Verb != crdt.Expire && (last == nil || last.before(d)) {
			last = d
		}
	}
	if last == nil || last.op.Verb == crdt.Delete || l.endOf(in).of(last) <= millis {
		return ""
	}
	return last.text
}

// set returns the elements of an add-wins set: those with an add that no removal has seen.
func (l *ledger) set(in []int, millis uint64) (want string, sure bool) {
	alive := l.elements(in, millis, false)
	if len(alive) != len(l.elements(in, millis, true)) {
		return "", false
	}
	if len(alive) == 0 {
		return "", true
	}
	var texts []string
	for _, v := range alive {
		texts = append(texts, v.String())
	}
	return "[" + strings.Join(texts, ",") + "]", true
}

// elements returns the elements of the set. A writer may delete a set that has lost an
// element already. The rules then leave open whether the delete covers the add of that
// element too. With more it does; a caller that gets two results is not sure.
func (l *ledger) elements(in []int, millis uint64, more bool) (alive []crdt.Value) {
	end := l.endOf(in)
	for _, a := range in {
		if l.deeds[a].op.Verb != crdt.Add || end.of(l.deeds[a]) <= millis {
			continue
		}
		for _, v := range l.deeds[a].op.Values {
			at := func(i int) bool {
				d := l.deeds[i]
				return d.op.Verb != crdt.Expire && (more || d.op.Verb == crdt.Add || slices.Contains(d.had, v)) && (d.op.Verb == crdt.Delete || slices.Contains(d.op.Values, v))
			}
			if !slices.Contains(alive, v) && !slices.ContainsFunc(in, func(o int) bool { return l.overwrites(o, a, at) }) {
				alive = append(alive, v)
			}
		}
	}
	slices.SortFunc(alive, crdt.Value.Compare)
	return alive
}

// counter adds up the counts of all actors. A count is the total of one actor's
// increments, so the actor's latest write has all of them. A delete removes the count of
// an actor if the deleter had seen its latest write, and otherwise nothing of it.
func (l *ledger) counter(in []int, millis uint64) (want string, sure bool) {
	sum, present := l.count(in, millis, l.deletes, l.deletes)
	for _, known := range [][2]func([]int) []int{{l.known, l.known}, {l.deletes, l.known}, {l.known, l.deletes}} {
		if s, p := l.count(in, millis, known[0], known[1]); s != sum || p != present {
			return "", false // the result depends on a delete that only others had seen
		}
	}
	if !present {
		return "", true
	}
	return strconv.FormatInt(sum, 10), true
}

// count adds up the counts. The functions reader and writers return the deletes that the
// reader of a list of deeds takes into account, and those that its writers did.
func (l *ledger) count(in []int, millis uint64, reader, writers func([]int) []int) (sum int64, present bool) {
	latest := map[clock.Actor]int{}
	for _, i := range in {
		if l.deeds[i].op.Verb == crdt.Increment {
			latest[l.deeds[i].actor] = i
		}
	}
	deletes, end := reader(in), l.endOf(in)
	for actor, last := range latest { // the order does not matter to a sum
		if l.removed(last, deletes) || end.of(l.deeds[last]) <= millis {
			continue
		}
		total, before := int64(0), -1
		for i, d := range l.deeds[:last+1] {
			if d.actor != actor || d.op.Verb != crdt.Increment {
				continue
			}
			if before >= 0 && (d.ended>>before&1 == 1 || l.removed(before, writers(append(l.seen(i), i)))) {
				total = 0
			}
			total, before = total+d.op.Delta, i
		}
		sum, present = sum+total, true
	}
	return sum, present
}

// seen returns the deeds that the writer of deed i had seen.
func (l *ledger) seen(i int) (list []int) {
	for m := range l.deeds[:i] {
		if l.saw(i, m) {
			list = append(list, m)
		}
	}
	return list
}

// deletes returns the deletes of a list of deeds.
func (l *ledger) deletes(list []int) []int {
	return slices.DeleteFunc(slices.Clone(list), func(i int) bool { return l.deeds[i].op.Verb != crdt.Delete })
}

// removed reports whether the writer of one of the deletes had seen deed k, or a later
// increment of the same actor, whose count contains that of k.
func (l *ledger) removed(k int, deletes []int) bool {
	return slices.ContainsFunc(deletes, func(r int) bool {
		for m := k; m < r; m++ {
			if d := l.deeds[m]; d.actor == l.deeds[k].actor && d.op.Verb == crdt.Increment && l.saw(r, m) {
				return true
			}
		}
		return false
	})
}

// greatest returns the deed with the greatest value of those that were neither deleted nor ended.
func (l *ledger) greatest(in []int, millis uint64) (best *deed) {
	at := func(i int) bool { return l.deeds[i].op.Verb != crdt.Expire }
	end := l.endOf(in)
	for _, i := range in {
		d := l.deeds[i]
		if d.op.Verb == crdt.Bump && end.of(d) > millis && (best == nil || d.op.Value.Compare(best.op.Value) > 0) &&
			!slices.ContainsFunc(in, func(o int) bool { return l.overwrites(o, i, at) }) {
			best = d
		}
	}
	return best
}

// field is a field of an object, with its JSON text `"name":value`, or "" if it is removed.
// A field without a name stands for the object itself. An object is present if it has any
// field, named or not.
type field struct{ name, text string }

func (f field) gone() bool { return f.text == "" }

// itself is the field that stands for the object.
var itself = field{"", "{}"}

// object returns the object: the last write of each field wins. A replacement or a delete
// clears the fields that its writer read. A field that was written earlier, and that the
// writer did not read, may go or stay; then the model is not sure.
func (l *ledger) object(in []int, millis uint64) (want string, sure bool) {
	few := l.fields(in, millis, false)
	if len(few) != len(l.fields(in, millis, true)) {
		return "", false
	}
	if len(few) == 0 {
		return "", true
	}
	var parts []string
	for _, f := range few {
		if f != itself {
			parts = append(parts, f.text)
		}
	}
	return "{" + strings.Join(parts, ",") + "}", true
}

// fields returns the fields of the object, sorted by name. With more, a write that clears
// one field clears every field that was written before it.
func (l *ledger) fields(in []int, millis uint64, more bool) (list []field) {
	end := l.endOf(in)
	for _, i := range in {
		d := l.deeds[i]
		if end.of(d) <= millis {
			continue
		}
		for _, f := range d.fields {
			lost := slices.ContainsFunc(in, func(n int) bool {
				o := l.deeds[n]
				clears := o.op.Verb != crdt.Patch && o.op.Verb != crdt.Expire && (named(o.has, f.name) || more && (len(o.has) > 0 || o.ended != 0))
				return d.before(o) && (clears || named(o.fields, f.name))
			})
			if !lost && !f.gone() {
				list = append(list, f)
			}
		}
	}
	slices.SortFunc(list, func(a, b field) int { return strings.Compare(a.name, b.name) })
	return list
}

func named(list []field, name string) bool {
	return slices.ContainsFunc(list, func(f field) bool { return f.name == name })
}

// fieldsOf returns the fields that a put or patch of an object writes, and the fields of
// has that it removes. An operation that sets no field writes the object itself.
func fieldsOf(op crdt.Op, has []field, m *memo) (list []field) {
	var value map[string]crdt.Value
	if op.Verb == crdt.Delete || op.Value.Decode(&value) != nil {
		return nil
	}
	sets := false
	for _, name := range sortedKeys(value) {
		if value[name].Any() == nil {
			if op.Verb == crdt.Patch && named(has, name) {
				list = append(list, field{name: name})
			}
			continue
		}
		sets = true
		quoted, err := crdt.ValueOf(name)
		if err != nil {
			continue
		}
		list = append(list, field{name, m.text(quoted) + ":" + m.text(value[name])})
	}
	if !sets && (op.Kind == crdt.Object || len(list) > 0 || len(has) == 0) {
		list = append(list, itself)
	}
	return list
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

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

// ledger is the reference model of one key: every acknowledged write of it with
// what its writer had seen, kept for ever. What a peer must read follows from which
// of them it has seen, by the plain definition of each type, and from nothing that
// the store remembers.
type ledger struct {
	deeds []*deed
	vague bool // what a writer had seen cannot be told by whole writes
}

// modelled bounds a ledger: who saw what is a bit each.
const modelled = 64

func (l *ledger) enter(d *deed, c *clock.CausalContext, m *memo) {
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
	l.vague = l.vague || verbs != nil && !slices.Contains(verbs, d.op.Verb)
	l.vague = l.vague || (d.family() == "obj") != (d.op.Kind == crdt.Object) && d.op.Verb == crdt.Put
	switch d.family() {
	case "set":
		d.had = l.elements(in, true) // for certain
	case "obj":
		d.has = l.fields(in, false)
		d.fields = fieldsOf(d.op, d.has, m)
		l.vague = l.vague || len(d.has) != len(l.fields(in, true))
	}
	d.text = m.text(d.op.Value)
	l.deeds = append(l.deeds, d)
}

// predates reports whether the last deed, d, has an earlier stamp than a removal that its
// writer has not heard of: one without memory, whose clock is behind.
func (l *ledger) predates(d *deed) bool {
	for i, o := range l.deeds[:min(len(l.deeds)-1, modelled)] {
		removes := o.op.Verb == crdt.Delete || o.clears()
		if removes && d.saw>>i&1 == 0 && d.stamp < o.stamp {
			return true
		}
	}
	return false
}

// families are the kinds of keys that are modelled, by the first part of their names,
// and what may be done to them.
var families = map[string][]crdt.Verb{
	"reg":   {crdt.Put, crdt.Delete},
	"once":  {crdt.Put, crdt.Delete},
	"set":   {crdt.Add, crdt.Remove, crdt.Delete},
	"count": {crdt.Increment, crdt.Delete},
	"max":   {crdt.Bump, crdt.Delete},
	"obj":   {crdt.Put, crdt.Patch, crdt.Delete},
}

func (d *deed) family() string {
	family, _, _ := strings.Cut(d.op.Key, "/")
	return family
}

// read returns the JSON that key holds for a reader who has seen c, "" for nothing.
// It is not sure of what expires within skew milliseconds, for a peer whose clock is
// ahead by that may have forgotten it, nor of keys that change their type or have too many writes.
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
			return "", false // half of a write of several records
		}
	}
	switch family, _, _ := strings.Cut(key, "/"); family {
	case "reg", "once":
		want = l.register(in, millis)
		return want, want == l.register(in, millis+skew)
	case "set":
		return l.set(in)
	case "count":
		return l.counter(in)
	case "max":
		return l.max(in), true
	case "obj":
		return l.object(in)
	}
	return "", false
}

// before is the order of writes: by stamp, then by dot.
func (d *deed) before(o *deed) bool {
	return cmp.Or(cmp.Compare(d.stamp, o.stamp), d.actor.Compare(o.actor), cmp.Compare(d.dots[0], o.dots[0])) < 0
}

// saw reports whether the writer of deed i had seen deed k.
func (l *ledger) saw(i, k int) bool { return l.deeds[i].saw>>k&1 == 1 }

// known returns the deletes that the writers of a list had seen, or were told of by
// what they had seen at the slot, those in the list among them.
func (l *ledger) known(in []int) []int {
	var deletes []int
	told := map[int]bool{}
	var ask func(i int)
	ask = func(i int) {
		if told[i] {
			return
		}
		told[i] = true
		if l.deeds[i].op.Verb == crdt.Delete {
			deletes = append(deletes, i)
		}
		for _, m := range l.seen(i) {
			ask(m)
		}
	}
	for _, i := range in {
		ask(i)
	}
	return deletes
}

// overwrites reports whether o removes a, where every write of the slot overwrites
// all that was seen of it. at says which deeds are writes of the slot.
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

func (l *ledger) register(in []int, millis uint64) string {
	var last *deed
	for _, i := range in {
		if d := l.deeds[i]; last == nil || last.before(d) {
			last = d
		}
	}
	if last == nil || last.op.Verb == crdt.Delete || last.op.Expiry != 0 && last.op.Expiry <= millis {
		return ""
	}
	return last.text
}

// set is add-wins: an element is in if someone added it and nobody who saw that
// removed it.
func (l *ledger) set(in []int) (want string, sure bool) {
	alive := l.elements(in, false)
	if len(alive) != len(l.elements(in, true)) {
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

// elements is the set. A delete of what its writer did not have any more may remove
// it elsewhere too, or leave that to the removal that its writer had seen: with more,
// it does.
func (l *ledger) elements(in []int, more bool) (alive []crdt.Value) {
	for _, a := range in {
		if l.deeds[a].op.Verb != crdt.Add {
			continue
		}
		for _, v := range l.deeds[a].op.Values {
			at := func(i int) bool {
				d := l.deeds[i]
				return (more || d.op.Verb == crdt.Add || slices.Contains(d.had, v)) && (d.op.Verb == crdt.Delete || slices.Contains(d.op.Values, v))
			}
			if !slices.Contains(alive, v) && !slices.ContainsFunc(in, func(o int) bool { return l.overwrites(o, a, at) }) {
				alive = append(alive, v)
			}
		}
	}
	slices.SortFunc(alive, crdt.Value.Compare)
	return alive
}

// counter adds up each actor's increments. A delete takes away the whole count of
// an actor as the deleter had seen it, and nothing if the actor went on meanwhile.
// A count is a total: who has seen an actor's latest has seen all.
func (l *ledger) counter(in []int) (want string, sure bool) {
	sum, present := l.count(in, l.deletes, l.deletes)
	for _, known := range [][2]func([]int) []int{{l.known, l.known}, {l.deletes, l.known}, {l.known, l.deletes}} {
		if s, p := l.count(in, known[0], known[1]); s != sum || p != present {
			return "", false // a delete that others had seen may count already, or not yet
		}
	}
	if !present {
		return "", true
	}
	return strconv.FormatInt(sum, 10), true
}

// count adds up, where the functions return the deletes that the reader of a list goes
// by, and the writers in it went by.
func (l *ledger) count(in []int, reader, writers func([]int) []int) (sum int64, present bool) {
	latest := map[clock.Actor]int{}
	for _, i := range in {
		if l.deeds[i].op.Verb == crdt.Increment {
			latest[l.deeds[i].actor] = i
		}
	}
	deletes := reader(in)
	for actor, last := range latest { // a sum: no order
		if l.removed(last, deletes) {
			continue
		}
		total, before := int64(0), -1
		for i, d := range l.deeds[:last+1] {
			if d.actor != actor || d.op.Verb != crdt.Increment {
				continue
			}
			if before >= 0 && l.removed(before, writers(append(l.seen(i), i))) {
				total = 0
			}
			total, before = total+d.op.Delta, i
		}
		sum, present = sum+total, true
	}
	return sum, present
}

// seen lists what the writer of i had seen.
func (l *ledger) seen(i int) (list []int) {
	for m := range l.deeds[:i] {
		if l.saw(i, m) {
			list = append(list, m)
		}
	}
	return list
}

// deletes returns those of a list.
func (l *ledger) deletes(list []int) []int {
	return slices.DeleteFunc(slices.Clone(list), func(i int) bool { return l.deeds[i].op.Verb != crdt.Delete })
}

// removed reports whether one of the deletes had seen the count as of k, or a later
// one of its actor, which holds it.
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

func (l *ledger) max(in []int) string {
	var best *deed
	at := func(int) bool { return true }
	for _, i := range in {
		d := l.deeds[i]
		if d.op.Verb == crdt.Bump && (best == nil || d.op.Value.Compare(best.op.Value) > 0) &&
			!slices.ContainsFunc(in, func(o int) bool { return l.overwrites(o, i, at) }) {
			best = d
		}
	}
	if best == nil {
		return ""
	}
	return best.text
}

// field is one of an object, and how JSON writes it; "" if it is removed. The object itself
// is one without a name: there is an object if it has that, or another.
type field struct{ name, text string }

func (f field) gone() bool { return f.text == "" }

// itself is the object, with fields or without.
var itself = field{"", "{}"}

// object is last-write-wins for each field; replacing and deleting clear the fields
// that their writer had. Another field written before, that it did not have, may go
// or stay, and then the model is not sure.
func (l *ledger) object(in []int) (want string, sure bool) {
	few := l.fields(in, false)
	if len(few) != len(l.fields(in, true)) {
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

// fields returns those of the object by name.
func (l *ledger) fields(in []int, more bool) (list []field) {
	for _, i := range in {
		d := l.deeds[i]
		for _, f := range d.fields {
			lost := slices.ContainsFunc(in, func(n int) bool {
				o := l.deeds[n]
				clears := o.op.Verb != crdt.Patch && (named(o.has, f.name) || more && len(o.has) > 0)
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

// fieldsOf returns what a put or patch of an object writes, and what of has it removes. One
// that sets no field makes sure of the object.
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

package crdt

import (
	"cmp"
	"fmt"
	"unicode/utf8"

	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// Limits of one Apply.
const (
	MaxOps    = 1024 // operations in one batch
	MaxLeaves = 4096 // leaves one Patch or Put of an object writes
)

// Op is one operation on one key. Which fields it uses follows from Verb.
//
// Put assigns by kind: a register or custom key takes any Value; an object
// takes a map, which replaces it; a set takes an array, which it becomes, as far
// as this replica can see; a max takes a number and keeps the greater. Counters
// are not assigned. Patch merges a map into an object: nested maps field by
// field, arrays as sets by union. Null inside an object is a field that is not there:
// patched, or put at Path, it removes one. An object without fields stays.
type Op struct {
	Verb   Verb
	Key    string
	Path   []string // inside an object; nil is the key itself; with the value at most 32 deep
	Kind   Kind     // for Put: 0 takes the rule's kind, or else the key's own, or else Register
	Value  Value    // Put, Bump, Patch
	Values []Value  // Add, Remove
	Delta  int64    // Increment
	Expiry uint64   // of what is written: Unix milliseconds, 0 for never
	If     *Version // apply only if this is the key's version here; 0 is absent
	Vital  bool     // a record of work in hand: it may add up to VitalBytes to a full store
}

// check returns what op makes its place, by op alone and the rules: 0 for a Delete, and
// for a Put that leaves it to what the key is. kept is what the key is then, 0 if absent;
// l takes what op writes.
func (s *Store) check(op *Op, kept Kind, l *leaves) (Kind, error) {
	if err := ValidateKey(op.Key); err != nil {
		return 0, err
	}
	if err := op.checkPath(); err != nil {
		return 0, err
	}
	rule, ruled := s.rules.Match(op.Key)
	want, err := op.kind(rule.Kind, kept)
	if err != nil || want == 0 {
		return 0, err
	}
	switch whole := len(op.Path) == 0; {
	case op.Kind == Counter && op.Verb == Put:
		return 0, &wire.ValueError{Reason: "a counter is not assigned; add to it"}
	case want == Counter && op.Verb == Put:
		return 0, &TypeError{op.Key, Register, Counter, rule.Pattern}
	case ruled && whole && rule.Kind != want:
		return 0, &TypeError{op.Key, want, rule.Kind, rule.Pattern}
	case ruled && !whole && rule.Kind != Object:
		return 0, &TypeError{op.Key, Object, rule.Kind, rule.Pattern}
	}
	return want, op.checkValue(want, l)
}

func (op *Op) checkPath() error {
	if len(op.Path) == 0 {
		return nil
	}
	for _, seg := range op.Path {
		if seg == "" || !utf8.ValidString(seg) {
			return &KeyError{op.Key, fmt.Sprintf("has the path segment %q; segments are text, not empty", seg)}
		}
	}
	if _, err := levelsOf(pathOf(op.Path), false); err != nil {
		return &KeyError{op.Key, fmt.Sprintf("has a path over %d bytes or %d segments", wire.MaxPathBytes, wire.MaxDepth)}
	}
	return nil
}

// kind returns what op makes its place, where a rule says ruled and the key is kept.
func (op *Op) kind(ruled, kept Kind) (Kind, error) {
	switch op.Verb {
	case Delete:
		return 0, nil
	case Add, Remove:
		return Set, nil
	case Increment:
		return Counter, nil
	case Bump:
		return Max, nil
	case Patch:
		return Object, nil
	case Put:
	default:
		return 0, fmt.Errorf("no such operation %d", op.Verb)
	}
	want := op.Kind
	switch {
	case want > Custom:
		return 0, fmt.Errorf("key %q: no such type %d", op.Key, want)
	case want == 0 && len(op.Path) > 0:
		want = kindOfLeaf(op.Value)
	case want == 0:
		want = cmp.Or(ruled, kept, Register)
	}
	if want == Custom && len(op.Path) > 0 {
		return 0, &TypeError{Key: op.Key, Want: Custom, Have: Object}
	}
	return want, nil
}

// nulls reports whether op puts null at a place inside an object, which removes what is
// there.
func (op *Op) nulls() bool { return op.Verb == Put && len(op.Path) > 0 && isNull(op.Value) }

// checkValue holds what op writes, at a place of kind, against what a replica takes.
func (op *Op) checkValue(kind Kind, l *leaves) error {
	if len(op.Path) > 0 {
		l.path = []byte(pathOf(op.Path))
	}
	switch op.Verb {
	case Increment:
		return nil
	case Add, Remove:
		if len(op.Values) == 0 {
			return &wire.ValueError{Reason: fmt.Sprintf("a set operation takes 1 to %d elements", MaxLeaves)}
		}
		return l.set(op.Values)
	}
	switch t := op.Value.wireType(); {
	case t == wire.TypeNone:
		return ErrAbsent
	case kind == Object && t != wire.TypeMap:
		return errMap
	case kind == Set && t != wire.TypeArray:
		return errArray
	}
	switch {
	case kind == Object:
		return l.object(op.Value)
	case kind == Set:
		return l.set(op.Value.Elements())
	case kind == Register && op.nulls():
		return nil
	}
	return l.record(leafSlot(kind), false, op.Value)
}

// kindOfLeaf returns what a value becomes inside an object.
func kindOfLeaf(v Value) Kind {
	switch v.wireType() {
	case wire.TypeMap:
		return Object
	case wire.TypeArray:
		return Set
	}
	return Register
}

// pathOf encodes path segments: each a msgpack string, so that a byte prefix is
// a path prefix.
func pathOf(segments []string) string {
	var b []byte
	for _, s := range segments {
		b = wire.AppendStr(b, s)
	}
	return string(b)
}

// elementPath is the slot path of an element of the set at path.
func elementPath(path string, element Value) string {
	return string(wire.AppendBin([]byte(path), element.raw))
}

package crdt

import (
	"cmp"
	"fmt"
	"unicode/utf8"

	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// The limits of one call of Apply.
const (
	MaxOps    = 1024 // operations in one batch
	MaxLeaves = 4096 // leaves that one operation on an object or a set writes
)

// Op is one operation on one key. Verb decides which of the other fields it uses.
//
// The effect of Put depends on the kind. A register or custom key takes any Value. An
// object takes a map, which replaces its fields. A set takes an array: Put adds the missing
// elements and removes the others that this replica sees. A max takes a number and keeps
// the greater one. A counter cannot be assigned.
//
// Patch merges a map into an object: nested maps field by field, and arrays into sets by
// union. Null inside an object stands for an absent field: a patch with it, or a Put of it
// at Path, removes the field. An object stays when its last field is removed.
type Op struct {
	Verb   Verb
	Key    string
	Path   []string // names inside an object, nil for the key itself; at most 32 levels together with the value
	Kind   Kind     // for Put; 0 means the kind of the rule, or else of the key, or else Register
	Value  Value    // Put, Bump, Patch
	Values []Value  // Add, Remove
	Delta  int64    // Increment
	Expiry uint64   // when the written records expire, in Unix milliseconds, 0 for never; for Expire, the deadline
	If     *Version // if set, the version that the key must have on this replica; 0 for an absent key
	Vital  bool     // the write may add up to VitalBytes to a full store, so that work in progress can end
}

// check checks op by itself and by the rules. It returns the kind that op gives to its key
// or path, 0 for a Delete. kept is the kind of the key at present, 0 if the key is absent
// or if its kind does not matter to op. l checks the records that op writes.
func (s *Store) check(op *Op, kept Kind, l *writeCheck) (Kind, error) {
	if err := ValidateKey(op.Key); err != nil {
		return 0, err
	}
	if err := op.checkPath(); err != nil {
		return 0, err
	}
	rule, ruled := s.rules.Match(op.Key)
	want, err := op.targetKind(rule.Kind, kept)
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

// targetKind returns the kind that op gives to its key or path, 0 for a Delete. ruled is the
// kind of the key's rule and kept the kind of the key at present; each is 0 if there is none.
func (op *Op) targetKind(ruled, kept Kind) (Kind, error) {
	switch op.Verb {
	case Delete:
		return 0, nil
	case Expire:
		if len(op.Path) > 0 {
			return 0, &KeyError{op.Key, "has a deadline as a whole; nothing inside it has one of its own"}
		}
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

// nulls reports whether op puts null at a path inside an object, which removes the field.
func (op *Op) nulls() bool { return op.Verb == Put && len(op.Path) > 0 && isNull(op.Value) }

// checkValue checks the records that op writes at a key or path of this kind.
func (op *Op) checkValue(kind Kind, l *writeCheck) error {
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

// kindOfLeaf returns the kind that a value has inside an object.
func kindOfLeaf(v Value) Kind {
	switch v.wireType() {
	case wire.TypeMap:
		return Object
	case wire.TypeArray:
		return Set
	}
	return Register
}

// pathOf encodes path segments. Each is a msgpack string, so an encoded path is a byte
// prefix of exactly the paths below it.
func pathOf(segments []string) string {
	var b []byte
	for _, s := range segments {
		b = wire.AppendStr(b, s)
	}
	return string(b)
}

// elementPath returns the slot path of an element of the set at path.
func elementPath(path string, element Value) string {
	return string(wire.AppendBin([]byte(path), element.raw))
}

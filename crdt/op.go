package crdt

import (
	"fmt"
	"math"
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
// field, arrays as sets by union, nil removes a field.
type Op struct {
	Verb   Verb
	Key    string
	Path   []string // inside an object; nil is the key itself; with the value at most 32 deep
	Kind   Kind     // for Put: 0 takes the rule's kind, or else Register
	Value  Value    // Put, Bump, Patch
	Values []Value  // Add, Remove
	Delta  int64    // Increment
	Expiry uint64   // of what is written: Unix milliseconds, 0 for never
	If     *Version // apply only if this is the key's version here; 0 is absent
	Vital  bool     // a record of work in hand: it may add up to VitalBytes to a full store
}

// target is an Op's kind after rules, validated.
func (s *Store) check(op *Op) (kind Kind, err error) {
	if err := ValidateKey(op.Key); err != nil {
		return 0, err
	}
	size := 0
	for _, seg := range op.Path {
		if seg == "" || !utf8.ValidString(seg) {
			return 0, &KeyError{op.Key, fmt.Sprintf("has the path segment %q; segments are text, not empty", seg)}
		}
		size += len(seg) + 5
	}
	if size > wire.MaxPathBytes || len(op.Path) > wire.MaxDepth {
		return 0, &KeyError{op.Key, fmt.Sprintf("has a path over %d bytes or %d segments", wire.MaxPathBytes, wire.MaxDepth)}
	}
	rule, ruled := s.rules.Match(op.Key)
	want := op.Kind
	if want > Custom {
		return 0, fmt.Errorf("key %q: no such type %d", op.Key, want)
	}
	switch op.Verb {
	case Put:
		if want == 0 && len(op.Path) == 0 {
			want = Register
			if ruled {
				want = rule.Kind
			}
		}
		if want == 0 {
			want = kindOfLeaf(op.Value)
		}
		if want == Custom && len(op.Path) > 0 {
			return 0, &TypeError{Key: op.Key, Want: Custom, Have: Object}
		}
		if op.Value.IsZero() {
			return 0, &wire.ValueError{Reason: "is absent; put null to store nothing"}
		}
	case Delete:
		return 0, nil
	case Add, Remove:
		want = Set
		if len(op.Values) == 0 || len(op.Values) > MaxLeaves {
			return 0, &wire.ValueError{Reason: fmt.Sprintf("a set operation takes 1 to %d elements", MaxLeaves)}
		}
	case Increment:
		want = Counter
	case Bump:
		want = Max
	case Patch:
		want = Object
	default:
		return 0, fmt.Errorf("no such operation %d", op.Verb)
	}
	if len(op.Path) > 0 {
		if ruled && rule.Kind != Object {
			return 0, &TypeError{op.Key, Object, rule.Kind, rule.Pattern}
		}
	} else if ruled && rule.Kind != want {
		return 0, &TypeError{op.Key, want, rule.Kind, rule.Pattern}
	}
	switch {
	case op.Verb != Put && op.Verb != Bump && op.Verb != Patch:
	case want == Max:
		if _, err := wire.CompareNumber(op.Value.bytes(), zero); err != nil {
			return 0, &wire.ValueError{Reason: "a max takes a number"}
		}
	case want == Object && op.Value.raw[0]&0xf0 != 0x80 && op.Value.raw[0] != 0xde && op.Value.raw[0] != 0xdf:
		return 0, &wire.ValueError{Reason: "an object takes a map"}
	case want == Set && op.Value.raw[0]&0xf0 != 0x90 && op.Value.raw[0] != 0xdc && op.Value.raw[0] != 0xdd:
		return 0, &wire.ValueError{Reason: "a set is assigned an array"}
	case want == Counter && op.Verb == Put:
		return 0, &TypeError{op.Key, Register, Counter, rule.Pattern}
	}
	if deep := op.deepest(); len(op.Path)+deep > wire.MaxDepth {
		return 0, &wire.ValueError{Reason: fmt.Sprintf("nested %d deep at a path of %d segments; together at most %d are allowed", deep, len(op.Path), wire.MaxDepth)}
	}
	if want == Object || want == Set {
		leaves, path := 0, size
		countLeaves(op.Value.bytes(), size, &leaves, &path)
		if leaves > MaxLeaves || path > wire.MaxPathBytes {
			return 0, &wire.ValueError{Reason: fmt.Sprintf("has %d leaves at up to %d bytes of path; at most %d and %d are allowed", leaves, path, MaxLeaves, wire.MaxPathBytes)}
		}
	}
	return want, nil
}

// deepest returns how deep op's values nest, with the set around its elements. Of what
// a Value may hold anyway it does not look.
func (op *Op) deepest() int {
	deep := 0
	switch {
	case op.Verb == Add:
		for _, v := range op.Values {
			r := wire.NewReader(v.bytes())
			deep = max(deep, 1+depthOf(&r))
		}
	case len(op.Path) > 0 && (op.Verb == Put || op.Verb == Patch):
		r := wire.NewReader(op.Value.bytes())
		deep = depthOf(&r)
	}
	return deep
}

// depthOf reads a value and returns how many arrays and maps are around the innermost
// part of it.
func depthOf(r *wire.Reader) int {
	deep := 0
	switch r.Peek() {
	case wire.TypeMap:
		for range r.MapLen() {
			r.Skip()
			deep = max(deep, depthOf(r))
		}
	case wire.TypeArray:
		for range r.ArrayLen() {
			deep = max(deep, depthOf(r))
		}
	default:
		r.Skip()
		return 0
	}
	return deep + 1
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

// countLeaves adds raw's leaves to leaves and raises path to the longest path.
func countLeaves(raw []byte, at int, leaves, path *int) {
	*path = max(*path, at)
	r := wire.NewReader(raw)
	switch r.Peek() {
	case wire.TypeMap:
		for range r.MapLen() {
			name := r.Str()
			countLeaves(r.Raw(), at+len(name)+5, leaves, path)
		}
	case wire.TypeArray:
		*leaves += r.ArrayLen()
	default:
		*leaves++
	}
}

var zero = wire.AppendInt(nil, 0)

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

// addExact adds without overflow: it stops at the ends of int64.
func addExact(a uint64, n int64) uint64 {
	if n < 0 {
		n = 0
	}
	if a > math.MaxInt64-uint64(n) {
		return math.MaxInt64
	}
	return a + uint64(n)
}

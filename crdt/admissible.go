package crdt

import (
	"fmt"
	"unsafe"

	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// emptyMap is the value of the marker of an object: an empty msgpack map.
const emptyMap = "\x80"

// isNull reports whether v is null.
func isNull(v Value) bool { return v.raw == "\xc0" }

// ErrAbsent refuses to store an absent Value. It is a *ValueError.
var ErrAbsent error = &wire.ValueError{Reason: "is absent, such as what a missing key holds; put null to store nothing"}

var (
	errElement = &wire.ValueError{Reason: "an element is absent, such as what a missing key holds; an element of a set is a value, null among them"}
	errNull    = &wire.ValueError{Reason: "a field of an object holds null; null is a field that is not there"}
	errMap     = &wire.ValueError{Reason: "an object takes a map"}
	errArray   = &wire.ValueError{Reason: "a set is assigned an array"}
	errNumber  = &wire.ValueError{Reason: "a max takes a number"}
	errDeep    = &wire.ValueError{Reason: fmt.Sprintf("is nested too deep, counted from the root of its object; at most %d are allowed", wire.MaxDepth)}
	errLong    = &wire.ValueError{Reason: fmt.Sprintf("has a path over %d bytes inside its object", wire.MaxPathBytes)}
	errRecord  = &wire.ValueError{Reason: "is no record"}
)

// admissible returns the reason why every replica refuses a record of a kind that this
// version knows, or nil if every replica accepts it. Apply and JoinSection use this one
// rule (invariant I7), because a record that one replica writes and another refuses would
// never be acknowledged. v is absent for a body of 0 bytes.
func admissible(kind slotKind, tomb bool, path string, v Value) error {
	levels, err := levelsOf(path, kind == slotElement)
	switch {
	case err != nil:
		return err
	case kind == 0 || kind > slotDeadline || kind == slotClear && !tomb:
		return errRecord
	case kind == slotDeadline && !isChain(path):
		return errRecord
	case tomb || kind == slotElement || kind == slotDeadline:
		if !v.IsZero() {
			return errRecord
		}
		return nil
	case v.IsZero():
		return ErrAbsent
	}
	switch kind {
	case slotRegister:
		if path == "" {
			return nil // a Value has at most wire.MaxDepth levels by itself
		}
		if isNull(v) {
			return errNull
		}
		r := wire.NewReader(v.bytes())
		if levels+depthOf(&r) > wire.MaxDepth {
			return errDeep
		}
	case slotMax:
		if v.wireType() != wire.TypeNumber {
			return errNumber
		}
	case slotCounter:
		r := wire.NewReader(v.bytes())
		if n := r.ArrayLen(); n != 2 {
			return errRecord
		}
		r.Uint()
		r.Uint()
		if r.Err() != nil {
			return errRecord
		}
	case slotMarker:
		if v.raw != emptyMap {
			return errRecord
		}
		if levels == wire.MaxDepth {
			return errDeep
		}
	case slotSibling:
		if path != "" {
			return errRecord
		}
	}
	return nil
}

// levelsOf returns how many maps and arrays a path leads through, including those inside
// the element at its end. A path is a series of names. It ends with an element of a set if
// element is true, and must not contain one otherwise.
func levelsOf(path string, element bool) (levels int, err error) {
	r := wire.NewReader(unsafe.Slice(unsafe.StringData(path), len(path)))
	for r.Len() > 0 {
		if levels++; levels > wire.MaxDepth {
			return 0, errDeep
		}
		raw := r.Raw()
		switch inner := wire.NewReader(raw); {
		case inner.Peek() == wire.TypeStr && wire.IsCanonical(raw):
			if len(path)-r.Len() > wire.MaxPathBytes {
				return 0, errLong
			}
		case inner.Peek() == wire.TypeBin && element && r.Len() == 0:
			deep, err := depthOfElement(raw)
			if levels += deep; err == nil && levels > wire.MaxDepth {
				err = errDeep
			}
			return levels, err
		default:
			return 0, errRecord
		}
	}
	if element {
		return 0, errRecord
	}
	return levels, nil
}

// depthOfElement returns how many arrays and maps the element in bin nests. bin is one
// encoded msgpack binary, header included.
func depthOfElement(bin []byte) (int, error) {
	r := wire.NewReader(bin)
	e := r.Bin()
	header := 2
	switch n := len(e); {
	case n == 0:
		return 0, errElement
	case n > 0xffff:
		header = 5
	case n > 0xff:
		header = 3
	}
	if len(bin) != header+len(e) || !wire.IsCanonical(e) {
		return 0, errRecord // another encoding of the same element would be another slot
	}
	r = wire.NewReader(e)
	return depthOf(&r), nil
}

// depthOf reads a value and returns how many arrays and maps surround its innermost part.
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

// writeCheck checks the records that one operation writes against the limits.
type writeCheck struct {
	n      int    // records so far
	memory int    // bytes that the records take at most, which is when all of their slots are new
	path   []byte // path of the value that is being checked
}

// record checks one record at path.
func (l *writeCheck) record(kind slotKind, tomb bool, v Value) error {
	if l.n++; l.n > MaxLeaves {
		return &wire.ValueError{Reason: fmt.Sprintf("has more leaves than the %d that one operation may write", MaxLeaves)}
	}
	path := unsafe.String(unsafe.SliceData(l.path), len(l.path))
	if !tomb {
		l.memory += kind.memory(path, len(v.raw)) + extMemory
	}
	return admissible(kind, tomb, path, v)
}

// part checks the records that a patch with v writes at path.
func (l *writeCheck) part(v Value) error {
	switch v.wireType() {
	case wire.TypeNil:
		return l.record(slotClear, true, Value{})
	case wire.TypeMap:
		return l.object(v)
	case wire.TypeArray:
		return l.set(v.Elements())
	}
	return l.record(slotRegister, false, v)
}

// object checks the records that a patch with the map v writes at path.
func (l *writeCheck) object(v Value) error {
	here, sets := len(l.path), false
	r := wire.NewReader(v.bytes())
	for range r.MapLen() {
		l.path = wire.AppendStr(l.path[:here], r.Str())
		sets = sets || r.Peek() != wire.TypeNil
		start := len(v.raw) - r.Len()
		r.Skip()
		if err := l.part(Value{v.raw[start : len(v.raw)-r.Len()]}); err != nil {
			return err
		}
	}
	l.path = l.path[:here]
	if sets {
		return nil
	}
	return l.record(slotMarker, false, Value{emptyMap})
}

// set checks the records that the elements of a set at path make.
func (l *writeCheck) set(elements []Value) error {
	here := len(l.path)
	for _, e := range elements {
		l.path = wire.AppendBin(l.path[:here], e.raw)
		if err := l.record(slotElement, false, Value{}); err != nil {
			return err
		}
	}
	l.path = l.path[:here]
	if len(elements) > 0 {
		return nil
	}
	return l.record(slotRegister, false, Value{emptySet})
}

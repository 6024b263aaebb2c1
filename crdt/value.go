package crdt

import (
	"unsafe"

	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// Value is an immutable value in canonical msgpack: nil, bool, integer, float, string,
// binary, array, or map with string keys. It has at most 1 MiB when encoded, and at most 32
// levels of arrays and maps. Equal values compare as equal with ==. The zero Value is
// absent, which is not the same as nil.
type Value struct{ raw string }

// ValueOf encodes v. A struct uses its msgpack tags, or its json tags if it has none. The
// error is a *wire.ValueError that says what is allowed.
func ValueOf(v any) (Value, error) {
	if v, ok := v.(Value); ok {
		return v, nil
	}
	var scratch [256]byte
	return newValue(wire.AppendValue(scratch[:0], v))
}

// newValue returns a Value with a copy of b, or err if it is not nil.
func newValue(b []byte, err error) (Value, error) {
	if err != nil {
		return Value{}, err
	}
	return Value{string(b)}, nil
}

// JSONValue encodes one JSON value.
func JSONValue(b []byte) (Value, error) {
	return newValue(wire.FromJSON(nil, b))
}

// RawValue converts one msgpack value to its canonical form. It does not keep raw.
func RawValue(raw []byte) (Value, error) {
	return newValue(wire.AppendCanonical(nil, raw))
}

// IsZero reports whether v is absent.
func (v Value) IsZero() bool { return v.raw == "" }

// Raw returns the canonical msgpack of v, "" if v is absent.
func (v Value) Raw() string { return v.raw }

// bytes returns v's bytes without a copy. The caller must not write to them.
func (v Value) bytes() []byte { return unsafe.Slice(unsafe.StringData(v.raw), len(v.raw)) }

// wireType returns the type of v, TypeNone if v is absent.
func (v Value) wireType() wire.Type {
	r := wire.NewReader(v.bytes())
	return r.Peek()
}

var typeNames = [...]string{
	wire.TypeNone: "absent", wire.TypeNil: "null", wire.TypeBool: "bool", wire.TypeNumber: "number",
	wire.TypeStr: "string", wire.TypeBin: "binary", wire.TypeArray: "array", wire.TypeMap: "map",
}

// Decode decodes v into the pointer p. A struct uses its msgpack tags, or its json tags if
// it has none. Nothing in p shares memory with v. Decode fails if v is absent.
func (v Value) Decode(p any) error {
	if v.IsZero() {
		return &wire.ValueError{Reason: "is absent; there is nothing to decode"}
	}
	return wire.Unmarshal(v.bytes(), p)
}

// Any returns v as nil, bool, int64 (uint64 if v is beyond the range of int64), float64,
// string, []byte, []any or map[string]any. It returns nil if v is absent.
func (v Value) Any() any {
	var a any
	if !v.IsZero() {
		_ = wire.Unmarshal(v.bytes(), &a) // canonical bytes always decode
	}
	return a
}

// AppendJSON appends v as JSON. It appends null if v is absent.
func (v Value) AppendJSON(dst []byte) ([]byte, error) {
	if v.IsZero() {
		return append(dst, "null"...), nil
	}
	return wire.AppendJSON(dst, v.bytes())
}

// MarshalJSON implements json.Marshaler.
func (v Value) MarshalJSON() ([]byte, error) { return v.AppendJSON(nil) }

// UnmarshalJSON implements json.Unmarshaler.
func (v *Value) UnmarshalJSON(b []byte) (err error) {
	*v, err = JSONValue(b)
	return err
}

// MarshalMsgpack lets a Value be part of a struct or map that is stored. An absent Value
// becomes null.
func (v Value) MarshalMsgpack() ([]byte, error) {
	if v.IsZero() {
		return wire.AppendNil(nil), nil
	}
	return []byte(v.raw), nil
}

// UnmarshalMsgpack lets a field of a struct take a part of a value undecoded.
func (v *Value) UnmarshalMsgpack(b []byte) (err error) {
	*v, err = RawValue(b)
	return err
}

// String returns v as JSON.
func (v Value) String() string {
	b, err := v.AppendJSON(nil)
	if err != nil {
		return "invalid value: " + err.Error()
	}
	return string(b)
}

// Equal reports whether both values are equal or both are absent, as == does.
func (v Value) Equal(o Value) bool { return v == o }

// Compare returns -1, 0 or +1 as v is before, equal to or after o. Absent values come
// first, then nil, booleans, numbers by value, strings, binary, arrays, and maps. Only equal
// values compare as 0.
func (v Value) Compare(o Value) int { return wire.Compare(v.bytes(), o.bytes()) }

// Elements returns the elements of an array, and nil if v is not an array. The elements
// share v's memory.
func (v Value) Elements() []Value {
	r := wire.NewReader(v.bytes())
	if r.Peek() != wire.TypeArray {
		return nil
	}
	list := make([]Value, r.ArrayLen())
	at := v.raw[len(v.raw)-r.Len():]
	for i := range list {
		n := len(r.Raw())
		list[i], at = Value{at[:n]}, at[n:]
	}
	return list
}

// Field returns the value that a map has under name. It is absent if v is not a map or does
// not have name. It shares v's memory.
func (v Value) Field(name string) Value {
	r := wire.NewReader(v.bytes())
	if r.Peek() != wire.TypeMap {
		return Value{}
	}
	for range r.MapLen() {
		found := string(r.Str()) == name
		start := len(v.raw) - r.Len()
		r.Skip()
		if found {
			return Value{v.raw[start : len(v.raw)-r.Len()]}
		}
	}
	return Value{}
}

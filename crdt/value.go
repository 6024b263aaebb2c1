package crdt

import (
	"unsafe"

	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// Value is an immutable value in canonical msgpack: nil, bool, integer, float,
// string, binary, array, or map with string keys; at most 1 MiB encoded and 32
// deep. Values compare with ==. The zero Value is absent, which is not nil.
type Value struct{ raw string }

// ValueOf encodes v. Structs use their msgpack tags, else their json tags. It
// fails with a *wire.ValueError that says what is allowed.
func ValueOf(v any) (Value, error) {
	if v, ok := v.(Value); ok {
		return v, nil
	}
	var scratch [256]byte
	b, err := wire.AppendValue(scratch[:0], v)
	return Value{string(b)}, err
}

// JSONValue encodes one JSON value.
func JSONValue(b []byte) (Value, error) {
	raw, err := wire.FromJSON(nil, b)
	return Value{string(raw)}, err
}

// RawValue takes msgpack from anywhere and makes it canonical.
func RawValue(raw []byte) (Value, error) {
	b, err := wire.AppendCanonical(nil, raw)
	return Value{string(b)}, err
}

// IsZero reports whether v is absent.
func (v Value) IsZero() bool { return v.raw == "" }

// Raw returns the canonical msgpack of v.
func (v Value) Raw() string { return v.raw }

// bytes returns v's bytes without a copy; nobody may write to them.
func (v Value) bytes() []byte { return unsafe.Slice(unsafe.StringData(v.raw), len(v.raw)) }

// Decode decodes v into the pointer p.
func (v Value) Decode(p any) error { return wire.Unmarshal(v.bytes(), p) }

// Any returns v as Go's natural types: nil, bool, int64 (uint64 above its range),
// float64, string, []byte, []any, map[string]any. An absent Value gives nil.
func (v Value) Any() any {
	var a any
	if !v.IsZero() {
		_ = wire.Unmarshal(v.bytes(), &a) // canonical bytes always decode
	}
	return a
}

// AppendJSON appends v as JSON; an absent Value as null.
func (v Value) AppendJSON(dst []byte) ([]byte, error) {
	if v.IsZero() {
		return append(dst, "null"...), nil
	}
	return wire.AppendJSON(dst, v.bytes())
}

// MarshalJSON implements json.Marshaler.
func (v Value) MarshalJSON() ([]byte, error) { return v.AppendJSON(nil) }

// String returns v as JSON.
func (v Value) String() string {
	b, err := v.AppendJSON(nil)
	if err != nil {
		return "invalid value: " + err.Error()
	}
	return string(b)
}

// Compare orders values: nil, booleans, numbers by value, strings, binary,
// arrays, maps.
func (v Value) Compare(o Value) int { return wire.Compare(v.bytes(), o.bytes()) }

package wire

import (
	"encoding/binary"
	"math"

	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// Reader reads msgpack from a slice. Its first error sticks: every later read returns a zero
// value. It allocates nothing; slices that it returns alias the input. No library is used: msgp v1.6
// accepts counts that the bytes cannot hold, and text that is not UTF-8 (docs/decisions/0034).
type Reader struct {
	b   []byte
	n   int
	err *Error
}

// NewReader returns a Reader at the start of b, which it does not change.
func NewReader(b []byte) Reader { return Reader{b: b} }

// Err returns the first error, nil if there is none.
func (r *Reader) Err() error {
	if r.err == nil {
		return nil
	}
	return r.err
}

// Len returns how many bytes are left.
func (r *Reader) Len() int { return len(r.b) - r.n }

// Fail makes reason the Reader's error unless it has one.
func (r *Reader) Fail(reason string) {
	if r.err == nil {
		r.err = &Error{reason, r.n}
	}
}

// next reads the header and body of one object. It returns its first byte, its body, and the number
// of objects inside it, which the caller reads; a map has two for each pair. A count that the
// remaining bytes cannot hold is an error.
func (r *Reader) next() (code byte, body []byte, count int) {
	if r.err != nil {
		return 0, nil, 0
	}
	head, size, count, bad := header(r.b[r.n:])
	if bad == "" && size > len(r.b)-r.n-head {
		bad = "truncated"
	}
	if bad == "" && count > len(r.b)-r.n-head {
		bad = "count"
	}
	if bad != "" {
		r.Fail(bad)
		return 0, nil, 0
	}
	code = r.b[r.n]
	body = r.b[r.n+head : r.n+head+size : r.n+head+size]
	r.n += head + size
	return code, body, count
}

// ArrayLen reads an array's header and returns its length.
func (r *Reader) ArrayLen() int {
	code, _, count := r.next()
	if !msgpcode.IsFixedArray(code) && code != msgpcode.Array16 && code != msgpcode.Array32 {
		r.Fail("type: want array")
		return 0
	}
	return count
}

// MapLen reads a map's header and returns its number of pairs.
func (r *Reader) MapLen() int {
	code, _, count := r.next()
	if !msgpcode.IsFixedMap(code) && code != msgpcode.Map16 && code != msgpcode.Map32 {
		r.Fail("type: want map")
		return 0
	}
	return count / 2
}

// Uint reads a non-negative integer.
func (r *Reader) Uint() uint64 {
	if r.err == nil && r.n < len(r.b) && r.b[r.n] <= msgpcode.PosFixedNumHigh {
		r.n++
		return uint64(r.b[r.n-1])
	}
	code, body, _ := r.next()
	n, neg, ok := integer(code, body)
	if !ok || neg {
		r.Fail("type: want unsigned integer")
		return 0
	}
	return n
}

// Int reads an integer that fits int64.
func (r *Reader) Int() int64 {
	code, body, _ := r.next()
	n, neg, ok := integer(code, body)
	if !ok || (!neg && n > math.MaxInt64) {
		r.Fail("type: want signed integer")
		return 0
	}
	return int64(n)
}

// integer decodes an integer object: its two's complement bits and its sign.
func integer(code byte, body []byte) (n uint64, neg, ok bool) {
	switch code {
	case msgpcode.Uint8:
		return uint64(body[0]), false, true
	case msgpcode.Uint16:
		return uint64(binary.BigEndian.Uint16(body)), false, true
	case msgpcode.Uint32:
		return uint64(binary.BigEndian.Uint32(body)), false, true
	case msgpcode.Uint64:
		return binary.BigEndian.Uint64(body), false, true
	}
	var i int64
	switch code {
	case msgpcode.Int8:
		i = int64(int8(body[0]))
	case msgpcode.Int16:
		i = int64(int16(binary.BigEndian.Uint16(body)))
	case msgpcode.Int32:
		i = int64(int32(binary.BigEndian.Uint32(body)))
	case msgpcode.Int64:
		i = int64(binary.BigEndian.Uint64(body))
	default:
		if !msgpcode.IsFixedNum(code) {
			return 0, false, false
		}
		i = int64(int8(code))
	}
	return uint64(i), i < 0, true
}

// Float reads a float or an integer, which it converts to the nearest float.
func (r *Reader) Float() float64 {
	code, body, _ := r.next()
	switch code {
	case msgpcode.Float:
		return float64(math.Float32frombits(binary.BigEndian.Uint32(body)))
	case msgpcode.Double:
		return math.Float64frombits(binary.BigEndian.Uint64(body))
	}
	n, neg, ok := integer(code, body)
	switch {
	case !ok:
		r.Fail("type: want number")
		return 0
	case neg:
		return float64(int64(n))
	}
	return float64(n)
}

// Bool reads a boolean.
func (r *Reader) Bool() bool {
	code, _, _ := r.next()
	if code != msgpcode.True && code != msgpcode.False {
		r.Fail("type: want bool")
	}
	return code == msgpcode.True
}

// Nil consumes a nil if one is next and reports whether it did.
func (r *Reader) Nil() bool {
	if r.err == nil && r.n < len(r.b) && r.b[r.n] == msgpcode.Nil {
		r.n++
		return true
	}
	return false
}

// Bin reads a binary string.
func (r *Reader) Bin() []byte {
	code, body, _ := r.next()
	if code != msgpcode.Bin8 && code != msgpcode.Bin16 && code != msgpcode.Bin32 {
		r.Fail("type: want bin")
		return nil
	}
	return body
}

// Str reads a text string. It does not check that the string is UTF-8.
func (r *Reader) Str() []byte {
	code, body, _ := r.next()
	if !isStr(code) {
		r.Fail("type: want str")
		return nil
	}
	return body
}

func isStr(code byte) bool {
	return msgpcode.IsFixedString(code) || code == msgpcode.Str8 || code == msgpcode.Str16 || code == msgpcode.Str32
}

// Raw reads one whole object and returns its bytes.
func (r *Reader) Raw() []byte {
	if r.err != nil {
		return nil
	}
	n, err := Check(r.b[r.n:], Limits{})
	if err != nil {
		e := *err.(*Error)
		r.err = &Error{e.Reason, r.n + e.Offset}
		return nil
	}
	r.n += n
	return r.b[r.n-n : r.n : r.n]
}

// Skip reads one whole object.
func (r *Reader) Skip() { r.Raw() }

// Type is a family of msgpack objects.
type Type uint8

// The types Peek tells apart.
const (
	TypeNone Type = iota // no object is left, it has no type of this list, or the Reader has failed
	TypeNil
	TypeBool
	TypeNumber
	TypeStr
	TypeBin
	TypeArray
	TypeMap
)

// Peek returns the type of the next object without reading it.
func (r *Reader) Peek() Type {
	if t := rank(r); t != rankNone {
		return Type(t + 1)
	}
	return TypeNone
}

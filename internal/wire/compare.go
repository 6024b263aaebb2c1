package wire

import (
	"bytes"
	"cmp"
	"math"

	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// Compare orders two canonical values: nil, then booleans, numbers by value (exactly, also beyond
// 2^53), strings, binary, arrays element by element, maps pair by pair. It returns 0 only if
// the bytes are equal. Numbers that are equal and have different bytes (2^60 as an integer
// and as a float) are ordered by their bytes, so that of two values the same one wins on
// every peer.
func Compare(a, b []byte) int {
	if bytes.Equal(a, b) {
		return 0
	}
	x, y := NewReader(a), NewReader(b)
	return cmp.Or(compare(&x, &y, 0), bytes.Compare(a, b))
}

// CompareNumber orders two numbers as [Compare] does. It fails unless each of a and b is exactly one
// number in canonical form, so that it may be given untrusted bytes.
func CompareNumber(a, b []byte) (int, error) {
	if !isNumber(a) || !isNumber(b) {
		return 0, errNoNumber
	}
	return Compare(a, b), nil
}

var errNoNumber = &ValueError{"want one number in canonical form"}

func isNumber(b []byte) bool {
	r := NewReader(b)
	return rank(&r) == rankNumber && r.canonical(0) && r.Len() == 0
}

const (
	rankNil = iota
	rankBool
	rankNumber
	rankStr
	rankBin
	rankArray
	rankMap
	rankNone
)

func rank(r *Reader) int {
	if r.err != nil || r.n >= len(r.b) {
		return rankNone
	}
	return rankOf(r.b[r.n])
}

// rankOf returns the rank of an object by its first byte. Ranks order values of different types.
func rankOf(code byte) int {
	switch {
	case code == msgpcode.Nil:
		return rankNil
	case code == msgpcode.True || code == msgpcode.False:
		return rankBool
	case isStr(code):
		return rankStr
	case msgpcode.IsBin(code):
		return rankBin
	case msgpcode.IsFixedArray(code) || code == msgpcode.Array16 || code == msgpcode.Array32:
		return rankArray
	case msgpcode.IsFixedMap(code) || code == msgpcode.Map16 || code == msgpcode.Map32:
		return rankMap
	case msgpcode.IsExt(code) || code == reserved:
		return rankNone
	}
	return rankNumber
}

// compare stops below the deepest value that Check accepts, since its input may be malformed.
func compare(x, y *Reader, depth int) int {
	if depth > maxWalkDepth {
		return 0
	}
	kind := rank(x)
	if c := cmp.Compare(kind, rank(y)); c != 0 {
		return c
	}
	switch kind {
	case rankBool:
		a, b := x.Bool(), y.Bool()
		switch {
		case a == b:
			return 0
		case b:
			return -1
		}
		return 1
	case rankNumber:
		return compareNumbers(x, y)
	case rankStr:
		return bytes.Compare(x.Str(), y.Str())
	case rankBin:
		return bytes.Compare(x.Bin(), y.Bin())
	case rankArray:
		n, m := x.ArrayLen(), y.ArrayLen()
		return compareElements(x, y, n, m, depth+1)
	case rankMap:
		n, m := x.MapLen(), y.MapLen()
		return compareElements(x, y, 2*n, 2*m, depth+1)
	}
	x.Skip()
	y.Skip()
	return 0
}

func compareElements(x, y *Reader, n, m, depth int) int {
	for range min(n, m) {
		if c := compare(x, y, depth); c != 0 {
			return c
		}
	}
	return cmp.Compare(n, m)
}

// number is an integer or a float.
type number struct {
	bits    uint64 // two's complement of an integer
	neg     bool   // the integer is negative
	float   float64
	isFloat bool
}

func (r *Reader) number() number {
	if code := r.b[r.n]; code == msgpcode.Float || code == msgpcode.Double {
		return number{float: r.Float(), isFloat: true}
	}
	code, body, _ := r.next()
	n, neg, ok := integer(code, body)
	if !ok {
		r.Fail("type: want number")
	}
	return number{bits: n, neg: neg}
}

// append appends the canonical form of n.
func (n number) append(dst []byte) ([]byte, error) {
	switch {
	case n.isFloat:
		return appendNumber(dst, n.float)
	case n.neg:
		return AppendInt(dst, int64(n.bits)), nil
	}
	return AppendUint(dst, n.bits), nil
}

func compareNumbers(x, y *Reader) int {
	a, b := x.number(), y.number()
	switch {
	case a.isFloat && b.isFloat:
		return cmp.Compare(a.float, b.float)
	case a.isFloat:
		return -compareIntFloat(b, a.float)
	case b.isFloat:
		return compareIntFloat(a, b.float)
	case a.neg != b.neg:
		if a.neg {
			return -1
		}
		return 1
	}
	return cmp.Compare(a.bits, b.bits) // two's complement keeps the order within a sign
}

// compareIntFloat compares exactly: neither side is rounded. A NaN, which no
// value holds, comes before all numbers.
func compareIntFloat(i number, f float64) int {
	switch {
	case math.IsNaN(f) || f < -1<<63:
		return 1
	case f >= 1<<64:
		return -1
	case i.neg && f >= 0:
		return -1
	case !i.neg && f < 0:
		return 1
	}
	whole := math.Trunc(f) // within the range of the integers it is compared to
	if i.neg {
		return cmp.Or(cmp.Compare(int64(i.bits), int64(whole)), cmp.Compare(whole, f))
	}
	return cmp.Or(cmp.Compare(i.bits, uint64(whole)), cmp.Compare(whole, f))
}

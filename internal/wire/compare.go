package wire

import (
	"bytes"
	"cmp"
	"math"
	"math/big"

	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// Compare orders two canonical values: nil, then booleans, numbers by value
// (exact, also past 2^53), strings, binary, arrays element by element, maps pair
// by pair. It returns 0 exactly when the bytes are equal.
func Compare(a, b []byte) int {
	if bytes.Equal(a, b) {
		return 0
	}
	x, y := NewReader(a), NewReader(b)
	return cmp.Or(compare(&x, &y), bytes.Compare(a, b))
}

// CompareNumber orders two numbers by value. It fails if either is none.
func CompareNumber(a, b []byte) (int, error) {
	x, y := NewReader(a), NewReader(b)
	if rank(&x) != rankNumber || rank(&y) != rankNumber {
		return 0, &ValueError{"want a number"}
	}
	return compareNumbers(&x, &y), nil
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
	switch code := r.b[r.n]; {
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
	case msgpcode.IsExt(code):
		return rankNone
	}
	return rankNumber
}

func compare(x, y *Reader) int {
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
		return compareElements(x, y, n, m)
	case rankMap:
		n, m := x.MapLen(), y.MapLen()
		return compareElements(x, y, 2*n, 2*m)
	}
	x.Skip()
	y.Skip()
	return 0
}

func compareElements(x, y *Reader, n, m int) int {
	for range min(n, m) {
		if c := compare(x, y); c != 0 {
			return c
		}
	}
	return cmp.Compare(n, m)
}

// number is an integer, or a float that is none.
type number struct {
	bits    uint64
	neg     bool
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

// compareIntFloat compares exactly: neither side is rounded.
func compareIntFloat(i number, f float64) int {
	switch {
	case math.IsInf(f, 1):
		return -1
	case math.IsInf(f, -1):
		return 1
	}
	n := new(big.Int).SetUint64(i.bits)
	if i.neg {
		n.SetInt64(int64(i.bits))
	}
	return new(big.Float).SetPrec(128).SetInt(n).Cmp(big.NewFloat(f))
}

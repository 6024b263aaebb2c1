package wire

import (
	"encoding/binary"
	"math"

	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// AppendArray appends the header of an array of n elements.
func AppendArray(dst []byte, n int) []byte {
	if n <= 15 {
		return append(dst, msgpcode.FixedArrayLow|byte(n))
	}
	return appendLength(dst, n, 0, msgpcode.Array16, msgpcode.Array32)
}

// AppendMap appends the header of a map of n pairs.
func AppendMap(dst []byte, n int) []byte {
	if n <= 15 {
		return append(dst, msgpcode.FixedMapLow|byte(n))
	}
	return appendLength(dst, n, 0, msgpcode.Map16, msgpcode.Map32)
}

// appendLength appends the shortest of three headers that holds n. A code8 of 0 says that the type
// has no header with a length of one byte.
func appendLength(dst []byte, n int, code8, code16, code32 byte) []byte {
	switch {
	case n <= math.MaxUint8 && code8 != 0:
		return append(dst, code8, byte(n))
	case n <= math.MaxUint16:
		return append(dst, code16, byte(n>>8), byte(n))
	}
	return binary.BigEndian.AppendUint32(append(dst, code32), uint32(n))
}

// AppendUint appends n in its shortest form.
func AppendUint(dst []byte, n uint64) []byte {
	switch {
	case n <= math.MaxInt8:
		return append(dst, byte(n))
	case n <= math.MaxUint8:
		return append(dst, msgpcode.Uint8, byte(n))
	case n <= math.MaxUint16:
		return append(dst, msgpcode.Uint16, byte(n>>8), byte(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, msgpcode.Uint32), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, msgpcode.Uint64), n)
}

// AppendInt appends n in its shortest form.
func AppendInt(dst []byte, n int64) []byte {
	switch {
	case n >= 0:
		return AppendUint(dst, uint64(n))
	case n >= -32:
		return append(dst, byte(n))
	case n >= math.MinInt8:
		return append(dst, msgpcode.Int8, byte(n))
	case n >= math.MinInt16:
		return append(dst, msgpcode.Int16, byte(n>>8), byte(n))
	case n >= math.MinInt32:
		return binary.BigEndian.AppendUint32(append(dst, msgpcode.Int32), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, msgpcode.Int64), uint64(n))
}

// AppendFloat appends f as 64 bits, whatever its value.
func AppendFloat(dst []byte, f float64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, msgpcode.Double), math.Float64bits(f))
}

// AppendBool appends v.
func AppendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, msgpcode.True)
	}
	return append(dst, msgpcode.False)
}

// AppendNil appends nil.
func AppendNil(dst []byte) []byte { return append(dst, msgpcode.Nil) }

// AppendBin appends b as a binary string.
func AppendBin[T ~string | ~[]byte](dst []byte, b T) []byte {
	return append(appendBinHeader(dst, len(b)), b...)
}

func appendBinHeader(dst []byte, n int) []byte {
	return appendLength(dst, n, msgpcode.Bin8, msgpcode.Bin16, msgpcode.Bin32)
}

// AppendStr appends s as a text string.
func AppendStr[T ~string | ~[]byte](dst []byte, s T) []byte {
	return append(appendStrHeader(dst, len(s)), s...)
}

func appendStrHeader(dst []byte, n int) []byte {
	if n <= 31 {
		return append(dst, msgpcode.FixedStrLow|byte(n))
	}
	return appendLength(dst, n, msgpcode.Str8, msgpcode.Str16, msgpcode.Str32)
}

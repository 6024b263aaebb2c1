package wire

import (
	"fmt"
	"math"

	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// Error reports input that is malformed or beyond a limit.
type Error struct {
	Reason string // truncated, depth, nodes, bytes, type, count, trailing, or the name of what was read; stable
	Offset int    // position of the fault in the input, in bytes
}

// Error says what was wrong and where.
func (e *Error) Error() string { return fmt.Sprintf("msgpack: %s at byte %d", e.Reason, e.Offset) }

// Limits bounds one call of Check. A zero field sets no bound; the depth never exceeds maxWalkDepth.
type Limits struct {
	Bytes int // greatest length of the object
	Depth int // deepest nesting of arrays and maps
	Nodes int // greatest number of objects; each element, key and value is one
}

// Check walks the one msgpack object at the start of b without allocating and
// returns its length. Extension types are refused, and so is any count that the
// bytes left cannot hold.
func Check(b []byte, l Limits) (n int, err error) {
	if l.Nodes == 0 {
		l.Nodes = math.MaxInt
	}
	if l.Depth == 0 || l.Depth > maxWalkDepth {
		l.Depth = maxWalkDepth
	}
	var left [maxWalkDepth + 1]int // objects still to come at each depth
	depth := 0
	left[0] = 1
	nodes := 0
	for {
		for left[depth] == 0 {
			if depth == 0 {
				if l.Bytes > 0 && n > l.Bytes {
					return 0, &Error{"bytes", n}
				}
				return n, nil
			}
			depth--
		}
		left[depth]--
		if nodes++; nodes > l.Nodes {
			return 0, &Error{"nodes", n}
		}
		head, body, count, bad := header(b[n:])
		if bad != "" {
			return 0, &Error{bad, n}
		}
		if body > len(b)-n-head {
			return 0, &Error{"truncated", n}
		}
		n += head + body
		if count == 0 {
			continue
		}
		if count > len(b)-n {
			return 0, &Error{"count", n}
		}
		if depth++; depth > l.Depth {
			return 0, &Error{"depth", n}
		}
		left[depth] = count
	}
}

const (
	maxWalkDepth = 64   // deepest nesting that Check accepts, whatever the limits
	reserved     = 0xc1 // the only byte that starts no object
)

// header reads the header of an object. It returns the length of the header and of the body, the
// number of objects inside it, and the reason of the error if bad is not "".
func header(b []byte) (head, body, count int, bad string) {
	if len(b) == 0 {
		return 0, 0, 0, "truncated"
	}
	c := b[0]
	switch {
	case msgpcode.IsFixedNum(c):
		return 1, 0, 0, ""
	case msgpcode.IsFixedString(c):
		return 1, int(c & msgpcode.FixedStrMask), 0, ""
	case msgpcode.IsFixedArray(c):
		return 1, 0, int(c & msgpcode.FixedArrayMask), ""
	case msgpcode.IsFixedMap(c):
		return 1, 0, 2 * int(c&msgpcode.FixedMapMask), ""
	}
	switch c {
	case msgpcode.Nil, msgpcode.False, msgpcode.True:
		return 1, 0, 0, ""
	case msgpcode.Uint8, msgpcode.Int8:
		return 1, 1, 0, ""
	case msgpcode.Uint16, msgpcode.Int16:
		return 1, 2, 0, ""
	case msgpcode.Uint32, msgpcode.Int32, msgpcode.Float:
		return 1, 4, 0, ""
	case msgpcode.Uint64, msgpcode.Int64, msgpcode.Double:
		return 1, 8, 0, ""
	}
	size := 0
	switch c {
	case msgpcode.Str8, msgpcode.Bin8:
		size = 1
	case msgpcode.Str16, msgpcode.Bin16, msgpcode.Array16, msgpcode.Map16:
		size = 2
	case msgpcode.Str32, msgpcode.Bin32, msgpcode.Array32, msgpcode.Map32:
		size = 4
	default:
		return 0, 0, 0, "type"
	}
	if len(b) < 1+size {
		return 0, 0, 0, "truncated"
	}
	length := 0
	for _, x := range b[1 : 1+size] {
		length = length<<8 | int(x)
	}
	switch c {
	case msgpcode.Array16, msgpcode.Array32:
		return 1 + size, 0, length, ""
	case msgpcode.Map16, msgpcode.Map32:
		return 1 + size, 0, 2 * length, ""
	}
	return 1 + size, length, 0, ""
}

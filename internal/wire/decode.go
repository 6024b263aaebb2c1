package wire

import (
	"bytes"
	"fmt"
	"math"

	"github.com/vmihailenco/msgpack/v5"
)

// Unmarshal decodes the one value in raw into v, a non-nil pointer. A *any gets nil, bool, int64
// (uint64 above its range), float64, string, []byte, []any or map[string]any. The result
// shares no memory with raw. Errors are *ValueError.
func Unmarshal[T ~string | ~[]byte](raw T, v any) error {
	b := []byte(raw)
	n, err := Check(b, Limits{Bytes: MaxValueBytes, Depth: MaxDepth})
	if err != nil {
		return checkError(err)
	}
	if n != len(b) {
		return errTrailing
	}
	r := NewReader(b)
	switch v := v.(type) {
	case *any:
		*v = decode(&r)
		return valueError(r.Err())
	case *string:
		*v = string(r.Str())
		return valueError(r.Err())
	case *int64:
		*v = r.Int()
		return valueError(r.Err())
	}
	return unmarshal(b, v)
}

func valueError(err error) error {
	if err == nil {
		return nil
	}
	return &ValueError{err.Error()}
}

func unmarshal(b []byte, v any) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &ValueError{fmt.Sprintf("cannot decode into %T: %v", v, p)}
		}
	}()
	dec := msgpack.NewDecoder(bytes.NewReader(b))
	dec.SetCustomStructTag("json")
	dec.UseLooseInterfaceDecoding(true)
	if err := dec.Decode(v); err != nil {
		return &ValueError{fmt.Sprintf("cannot decode into %T: %v", v, err)}
	}
	return nil
}

// decode reads one checked value into Go's natural types.
func decode(r *Reader) any {
	if r.err != nil || r.n == len(r.b) {
		r.Fail("truncated")
		return nil
	}
	switch rank(r) {
	case rankNil:
		r.Nil()
		return nil
	case rankBool:
		return r.Bool()
	case rankStr:
		return string(r.Str())
	case rankBin:
		return bytes.Clone(r.Bin())
	case rankArray:
		n := r.ArrayLen()
		a := make([]any, 0, min(n, 1024))
		for i := 0; i < n && r.err == nil; i++ {
			a = append(a, decode(r))
		}
		return a
	case rankMap:
		n := r.MapLen()
		m := make(map[string]any, min(n, 1024))
		for i := 0; i < n && r.err == nil; i++ {
			k := string(r.Str())
			m[k] = decode(r)
		}
		return m
	}
	n := r.number()
	switch {
	case n.isFloat:
		return n.float
	case n.neg || n.bits <= math.MaxInt64:
		return int64(n.bits)
	}
	return n.bits
}

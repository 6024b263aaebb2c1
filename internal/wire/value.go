package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/vmihailenco/msgpack/v5"
	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// ValueError reports a value that cannot be stored.
type ValueError struct{ Reason string } // what was wrong, and what is allowed

// Error returns the reason.
func (e *ValueError) Error() string { return "value: " + e.Reason }

var (
	errDepth  = &ValueError{fmt.Sprintf("nested deeper than %d", MaxDepth)}
	errSize   = &ValueError{fmt.Sprintf("larger than %d bytes when encoded", MaxValueBytes)}
	errNumber = &ValueError{"NaN and infinities are not numbers here; use null or a string"}
	errUTF8   = &ValueError{"a string is not valid UTF-8; store bytes as binary"}
	errKey    = &ValueError{"map keys must be strings"}
	errTwice  = &ValueError{"a map holds one key twice"}
	errExt    = &ValueError{"extension types (such as time.Time) are not supported; use a string or an integer"}
)

// maxExact bounds the integral floats that are stored as integers.
const maxExact = 1 << 53

// AppendValue appends the canonical form of v. Structs and other types go
// through their msgpack tags, or json tags where those are absent. v is not kept.
func AppendValue(dst []byte, v any) ([]byte, error) {
	start := len(dst)
	dst, err := appendValue(dst, v, 0)
	if err == nil && len(dst)-start > MaxValueBytes {
		err = errSize
	}
	if err != nil {
		return dst[:start], err
	}
	return dst, nil
}

func appendValue(dst []byte, v any, depth int) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return AppendNil(dst), nil
	case bool:
		return AppendBool(dst, v), nil
	case int:
		return AppendInt(dst, int64(v)), nil
	case int8:
		return AppendInt(dst, int64(v)), nil
	case int16:
		return AppendInt(dst, int64(v)), nil
	case int32:
		return AppendInt(dst, int64(v)), nil
	case int64:
		return AppendInt(dst, v), nil
	case uint:
		return AppendUint(dst, uint64(v)), nil
	case uint8:
		return AppendUint(dst, uint64(v)), nil
	case uint16:
		return AppendUint(dst, uint64(v)), nil
	case uint32:
		return AppendUint(dst, uint64(v)), nil
	case uint64:
		return AppendUint(dst, v), nil
	case float32:
		return appendNumber(dst, float64(v))
	case float64:
		return appendNumber(dst, v)
	case string:
		if !utf8.ValidString(v) {
			return dst, errUTF8
		}
		return AppendStr(dst, v), nil
	case []byte:
		if v == nil {
			return AppendNil(dst), nil
		}
		return AppendBin(dst, v), nil
	case []string:
		if depth >= MaxDepth {
			return dst, errDepth
		}
		dst = AppendArray(dst, len(v))
		for _, s := range v {
			if !utf8.ValidString(s) {
				return dst, errUTF8
			}
			dst = AppendStr(dst, s)
		}
		return dst, nil
	case []any:
		if depth >= MaxDepth {
			return dst, errDepth
		}
		dst = AppendArray(dst, len(v))
		return appendEach(dst, slices.Values(v), depth)
	case map[string]any:
		if depth >= MaxDepth {
			return dst, errDepth
		}
		dst = AppendMap(dst, len(v))
		var err error
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if !utf8.ValidString(k) {
				return dst, errUTF8
			}
			if dst, err = appendValue(AppendStr(dst, k), v[k], depth+1); err != nil {
				return dst, err
			}
		}
		return dst, nil
	case json.Number:
		return FromJSON(dst, []byte(v))
	case json.RawMessage:
		return appendConverted(dst, depth, func(b []byte) ([]byte, error) { return FromJSON(b, v) })
	}
	return appendConverted(dst, depth, func(b []byte) ([]byte, error) { return marshal(b, v) })
}

func appendEach(dst []byte, values func(func(any) bool), depth int) ([]byte, error) {
	var err error
	for v := range values {
		if dst, err = appendValue(dst, v, depth+1); err != nil {
			return dst, err
		}
		if len(dst) > 2*MaxValueBytes {
			return dst, errSize
		}
	}
	return dst, nil
}

// appendConverted appends a value that another encoder made, at depth.
func appendConverted(dst []byte, depth int, encode func([]byte) ([]byte, error)) ([]byte, error) {
	raw, err := encode(nil)
	if err != nil {
		return dst, err
	}
	r := Reader{b: raw}
	return appendCanonical(dst, &r, depth)
}

// marshal encodes v by reflection. The library panics on some types; that is the
// caller's mistake, not a reason to stop the process.
func marshal(dst []byte, v any) (_ []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &ValueError{fmt.Sprintf("cannot encode %T: %v", v, p)}
		}
	}()
	buf := bytes.NewBuffer(dst)
	enc := msgpack.NewEncoder(buf)
	enc.SetCustomStructTag("json")
	enc.SetSortMapKeys(true)
	if err := enc.Encode(v); err != nil {
		return nil, &ValueError{fmt.Sprintf("cannot encode %T: %v", v, err)}
	}
	if _, err := Check(buf.Bytes(), Limits{Bytes: 2 * MaxValueBytes}); err != nil {
		return nil, checkError(err)
	}
	return buf.Bytes(), nil
}

// checkError turns a failed walk over a value into what its user should know.
func checkError(err error) error {
	switch err.(*Error).Reason {
	case "depth":
		return errDepth
	case "bytes":
		return errSize
	case "type":
		return errExt
	}
	return &ValueError{"malformed " + err.Error()}
}

func appendNumber(dst []byte, f float64) ([]byte, error) {
	switch {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return dst, errNumber
	case f == math.Trunc(f) && math.Abs(f) < maxExact:
		return AppendInt(dst, int64(f)), nil
	}
	return AppendFloat(dst, f), nil
}

// AppendCanonical appends the canonical form of the one value in raw, which may
// come from anywhere. raw is not changed.
func AppendCanonical(dst, raw []byte) ([]byte, error) {
	n, err := Check(raw, Limits{Bytes: MaxValueBytes, Depth: MaxDepth})
	if err != nil {
		return dst, checkError(err)
	}
	if n != len(raw) {
		return dst, &ValueError{"bytes after the value"}
	}
	start := len(dst)
	r := NewReader(raw)
	dst, err = appendCanonical(dst, &r, 0)
	if err == nil && len(dst)-start > MaxValueBytes {
		err = errSize
	}
	if err != nil {
		return dst[:start], err
	}
	return dst, nil
}

// IsCanonical reports whether raw is exactly one value in canonical form.
func IsCanonical(raw []byte) bool {
	if len(raw) == 0 {
		return false
	}
	var scratch [64]byte
	b, err := AppendCanonical(scratch[:0], raw)
	return err == nil && bytes.Equal(b, raw)
}

type pair struct{ key, value []byte }

func appendCanonical(dst []byte, r *Reader, depth int) ([]byte, error) {
	start := r.n
	code, body, count := r.next()
	if r.err != nil {
		return dst, checkError(r.err)
	}
	switch {
	case code == msgpcode.Nil || code == msgpcode.True || code == msgpcode.False:
		return append(dst, code), nil
	case isStr(code):
		if !utf8.Valid(body) {
			return dst, errUTF8
		}
		return AppendStr(dst, body), nil
	case msgpcode.IsBin(code):
		return AppendBin(dst, body), nil
	case code == msgpcode.Float || code == msgpcode.Double:
		r.n = start
		return appendNumber(dst, r.Float())
	case msgpcode.IsFixedArray(code) || code == msgpcode.Array16 || code == msgpcode.Array32:
		if depth >= MaxDepth {
			return dst, errDepth
		}
		dst = AppendArray(dst, count)
		var err error
		for range count {
			if dst, err = appendCanonical(dst, r, depth+1); err != nil {
				return dst, err
			}
		}
		return dst, nil
	case msgpcode.IsFixedMap(code) || code == msgpcode.Map16 || code == msgpcode.Map32:
		if depth >= MaxDepth {
			return dst, errDepth
		}
		return appendCanonicalMap(dst, r, count/2, depth)
	}
	n, neg, ok := integer(code, body)
	switch {
	case !ok:
		return dst, errExt
	case neg:
		return AppendInt(dst, int64(n)), nil
	}
	return AppendUint(dst, n), nil
}

func appendCanonicalMap(dst []byte, r *Reader, n, depth int) ([]byte, error) {
	pairs := make([]pair, 0, min(n, 64))
	for range n {
		key := r.Str()
		if r.err != nil {
			return dst, errKey
		}
		if !utf8.Valid(key) {
			return dst, errUTF8
		}
		pairs = append(pairs, pair{key, r.Raw()})
	}
	slices.SortFunc(pairs, func(a, b pair) int { return bytes.Compare(a.key, b.key) })
	dst = AppendMap(dst, n)
	var err error
	for i, p := range pairs {
		if i > 0 && bytes.Equal(p.key, pairs[i-1].key) {
			return dst, errTwice
		}
		sub := NewReader(p.value)
		if dst, err = appendCanonical(AppendStr(dst, p.key), &sub, depth+1); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// Unmarshal decodes the one value in raw into v, a non-nil pointer. Into an any:
// nil, bool, int64 (uint64 above its range), float64, string, []byte, []any,
// map[string]any. Nothing in v aliases raw.
func Unmarshal[T ~string | ~[]byte](raw T, v any) error {
	b := []byte(raw)
	if _, err := Check(b, Limits{Bytes: MaxValueBytes, Depth: MaxDepth}); err != nil {
		return checkError(err)
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
	switch code := r.b[r.n]; {
	case code == msgpcode.Nil:
		r.n++
		return nil
	case code == msgpcode.True || code == msgpcode.False:
		return r.Bool()
	case isStr(code):
		return string(r.Str())
	case msgpcode.IsBin(code):
		return bytes.Clone(r.Bin())
	case code == msgpcode.Float || code == msgpcode.Double:
		return r.Float()
	case msgpcode.IsFixedArray(code) || code == msgpcode.Array16 || code == msgpcode.Array32:
		n := r.ArrayLen()
		a := make([]any, 0, min(n, 1024))
		for i := 0; i < n && r.err == nil; i++ {
			a = append(a, decode(r))
		}
		return a
	case msgpcode.IsFixedMap(code) || code == msgpcode.Map16 || code == msgpcode.Map32:
		n := r.MapLen()
		m := make(map[string]any, min(n, 1024))
		for i := 0; i < n && r.err == nil; i++ {
			k := string(r.Str())
			m[k] = decode(r)
		}
		return m
	}
	code, body, _ := r.next()
	n, neg, ok := integer(code, body)
	switch {
	case !ok:
		r.Fail("type")
		return nil
	case neg || n <= math.MaxInt64:
		return int64(n)
	}
	return n
}

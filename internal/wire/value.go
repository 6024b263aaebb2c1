package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/vmihailenco/msgpack/v5"
)

// ValueError reports a value that cannot be stored.
type ValueError struct{ Reason string } // Reason says what was wrong and what is allowed

// Error returns the reason.
func (e *ValueError) Error() string { return "value: " + e.Reason }

var (
	errDepth    = &ValueError{fmt.Sprintf("nested deeper than %d", MaxDepth)}
	errSize     = &ValueError{fmt.Sprintf("larger than %d bytes when encoded", MaxValueBytes)}
	errNumber   = &ValueError{"NaN and infinities are not numbers here; use null or a string"}
	errUTF8     = &ValueError{"a string is not valid UTF-8; store bytes as binary"}
	errKey      = &ValueError{"map keys must be strings"}
	errLone     = &ValueError{"JSON: a \\u escape is half of a surrogate pair, which is no character; write both halves, or the bytes as base64"}
	errTwice    = &ValueError{"a map holds one key twice"}
	errTrailing = &ValueError{"bytes after the value"}
	errExt      = &ValueError{"extension types (such as time.Time) are not supported; use a string or an integer"}
)

// maxExact bounds the integral floats that are stored as integers.
const maxExact = 1 << 53

// AppendValue appends the canonical form of v. Structs and other types are encoded by their msgpack
// tags, or by their json tags where there are none. The result shares no memory with v. It
// fails with a *ValueError on values over MaxValueBytes or nested deeper than MaxDepth, and
// on those without a canonical form; dst is then returned unchanged.
func AppendValue(dst []byte, v any) ([]byte, error) {
	start := len(dst)
	dst, err := appendValue(dst, v, 0, start+MaxValueBytes)
	if err == nil && len(dst)-start > MaxValueBytes {
		err = errSize
	}
	if err != nil {
		return dst[:start], err
	}
	return dst, nil
}

// appendValue gives up once dst is longer than limit: a few slices that share
// their elements can describe more than any memory holds.
func appendValue(dst []byte, v any, depth, limit int) ([]byte, error) {
	if len(dst) > limit {
		return dst, errSize
	}
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
		var err error
		for _, e := range v {
			if dst, err = appendValue(dst, e, depth+1, limit); err != nil {
				return dst, err
			}
		}
		return dst, nil
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
			if dst, err = appendValue(AppendStr(dst, k), v[k], depth+1, limit); err != nil {
				return dst, err
			}
		}
		return dst, nil
	case json.Number:
		if !json.Valid([]byte(v)) || v[0] != '-' && (v[0] < '0' || v[0] > '9') {
			return dst, &ValueError{fmt.Sprintf("json.Number %q is not a number", v)}
		}
		return fromNumber(dst, string(v))
	case json.RawMessage:
		return appendConverted(dst, depth, func(b []byte) ([]byte, error) { return FromJSON(b, v) })
	}
	return appendConverted(dst, depth, func(b []byte) ([]byte, error) { return marshal(b, v) })
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
	out := bounded{b: dst, next: boundedFirst}
	enc := msgpack.NewEncoder(&out)
	enc.SetCustomStructTag("json")
	if err := enc.Encode(v); err != nil {
		if ours, ok := errors.AsType[*ValueError](err); ok {
			return nil, ours
		}
		return nil, &ValueError{fmt.Sprintf("cannot encode %T: %v", v, err)}
	}
	if _, err := Check(out.b, Limits{Bytes: 2 * MaxValueBytes}); err != nil {
		return nil, checkError(err)
	}
	return out.b, nil
}

// bounded takes what the library writes and stops it in time. The library follows
// pointers: a struct that reaches itself would otherwise end in a stack overflow,
// which nothing recovers from.
type bounded struct {
	b    []byte
	next int // length at which to check again; it doubles, so that all checks cost time in proportion to the length
}

const boundedFirst = 4 << 10

func (w *bounded) Write(p []byte) (int, error) {
	w.b = append(w.b, p...)
	if len(w.b) < w.next {
		return len(p), nil
	}
	w.next = 2 * len(w.b)
	// The object is not finished yet, so Check fails in any case; only a failure for its depth
	// counts.
	if _, err := Check(w.b, Limits{Depth: MaxDepth}); err != nil && err.(*Error).Reason == "depth" {
		return 0, errDepth
	}
	if len(w.b) > 2*MaxValueBytes {
		return 0, errSize
	}
	return len(p), nil
}

// checkError turns an error of Check into the *ValueError for the caller's value.
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
	case f == math.Trunc(f) && math.Abs(f) < maxExact && (f != 0 || !math.Signbit(f)):
		return AppendInt(dst, int64(f)), nil
	}
	return AppendFloat(dst, f), nil
}

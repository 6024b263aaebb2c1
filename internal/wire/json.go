package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// AppendJSON appends the one value in raw as JSON. Integers are exact, binary becomes a string in
// base64, and map keys keep their order. Errors are *ValueError.
func AppendJSON(dst, raw []byte) ([]byte, error) {
	if _, err := Check(raw, Limits{}); err != nil {
		return dst, checkError(err)
	}
	r := NewReader(raw)
	return appendJSON(dst, &r)
}

func appendJSON(dst []byte, r *Reader) ([]byte, error) {
	var err error
	switch rank(r) {
	case rankNil:
		r.Nil()
		return append(dst, "null"...), nil
	case rankBool:
		return strconv.AppendBool(dst, r.Bool()), nil
	case rankStr:
		return appendJSONString(dst, r.Str()), nil
	case rankBin:
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, r.Bin())
		return append(dst, '"'), nil
	case rankArray:
		dst = append(dst, '[')
		for i := range r.ArrayLen() {
			if i > 0 {
				dst = append(dst, ',')
			}
			if dst, err = appendJSON(dst, r); err != nil {
				return dst, err
			}
		}
		return append(dst, ']'), nil
	case rankMap:
		dst = append(dst, '{')
		for i := range r.MapLen() {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendJSONString(dst, r.Str()), ':')
			if dst, err = appendJSON(dst, r); err != nil {
				return dst, err
			}
		}
		return append(dst, '}'), nil
	case rankNumber:
		if code := r.b[r.n]; code == msgpcode.Float || code == msgpcode.Double {
			f := r.Float()
			if f == 0 {
				return append(dst, "-0.0"...), nil // the only zero that is a float
			}
			if math.Abs(f) >= maxExact { // FromJSON reads a number without an exponent as an integer
				return strconv.AppendFloat(dst, f, 'e', -1, 64), nil
			}
			b, err := json.Marshal(f)
			return append(dst, b...), err
		}
		if n := r.number(); n.neg {
			return strconv.AppendInt(dst, int64(n.bits), 10), nil
		} else {
			return strconv.AppendUint(dst, n.bits, 10), nil
		}
	}
	return dst, errExt
}

func appendJSONString(dst, s []byte) []byte {
	plain := !slices.ContainsFunc(s, func(c byte) bool {
		return c < 0x20 || c >= utf8.RuneSelf || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&'
	})
	if plain {
		dst = append(dst, '"')
		dst = append(dst, s...)
		return append(dst, '"')
	}
	b, _ := json.Marshal(string(s)) // a string always encodes
	return append(dst, b...)
}

// FromJSON appends the canonical form of the one JSON value in src. Integers are exact. It refuses
// integers beyond 64 bits, a key that appears twice, text that is not UTF-8, and half of a
// surrogate pair, with a *ValueError. Both -0 and -0.0 become the float -0.
func FromJSON(dst, src []byte) ([]byte, error) {
	if len(src) > 6*MaxValueBytes+64 {
		return dst, errSize
	}
	if err := CheckText(src); err != nil {
		return dst, err
	}
	d := json.NewDecoder(bytes.NewReader(src))
	d.UseNumber()
	start := len(dst)
	dst, err := fromJSON(dst, d, 0)
	if err == nil {
		if _, tail := d.Token(); tail != io.EOF {
			err = &ValueError{"JSON: something follows the value"}
		}
	}
	if err == nil && len(dst)-start > MaxValueBytes {
		err = errSize
	}
	if err != nil {
		return dst[:start], err
	}
	return dst, nil
}

// CheckText refuses JSON whose text encoding/json would alter silently: bytes that are not UTF-8,
// and escapes of half a surrogate pair.
func CheckText(src []byte) error {
	if !utf8.Valid(src) {
		return errUTF8
	}
	for {
		i := bytes.IndexByte(src, '\\')
		if i < 0 || i+1 == len(src) {
			return nil
		}
		high, escape := surrogate(src[i:])
		switch low, _ := surrogate(src[min(i+6, len(src)):]); {
		case !escape:
			src = src[i+2:]
		case high >= 0xdc00 || low < 0xdc00:
			return errLone
		default:
			src = src[i+12:]
		}
	}
}

// surrogate returns the half of a surrogate pair if src begins with the escape of one.
func surrogate(src []byte) (half uint64, ok bool) {
	if len(src) < 6 || src[0] != '\\' || src[1] != 'u' {
		return 0, false
	}
	half, err := strconv.ParseUint(string(src[2:6]), 16, 16)
	if err != nil || half < 0xd800 || half > 0xdfff {
		return 0, false
	}
	return half, true
}

func fromJSON(dst []byte, d *json.Decoder, depth int) ([]byte, error) {
	token, err := d.Token()
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return dst, &ValueError{fmt.Sprintf("JSON: %v", err)}
	}
	switch t := token.(type) {
	case nil:
		return AppendNil(dst), nil
	case bool:
		return AppendBool(dst, t), nil
	case string:
		return AppendStr(dst, t), nil
	case json.Number:
		return fromNumber(dst, string(t))
	}
	if depth >= MaxDepth {
		return dst, errDepth
	}
	if token == json.Delim('[') {
		var elements []byte
		n := 0
		for ; d.More(); n++ {
			if elements, err = fromJSON(elements, d, depth+1); err != nil {
				return dst, err
			}
		}
		_, err = d.Token()
		return append(AppendArray(dst, n), elements...), jsonError(err)
	}
	var pairs []pair
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return dst, jsonError(err)
		}
		value, err := fromJSON(nil, d, depth+1)
		if err != nil {
			return dst, err
		}
		pairs = append(pairs, pair{[]byte(key.(string)), value})
	}
	_, err = d.Token()
	slices.SortFunc(pairs, func(a, b pair) int { return bytes.Compare(a.key, b.key) })
	dst = AppendMap(dst, len(pairs))
	for i, p := range pairs {
		if i > 0 && bytes.Equal(p.key, pairs[i-1].key) {
			return dst, errTwice
		}
		dst = append(AppendStr(dst, p.key), p.value...)
	}
	return dst, jsonError(err)
}

func jsonError(err error) error {
	if err == nil {
		return nil
	}
	return &ValueError{fmt.Sprintf("JSON: %v", err)}
}

func fromNumber(dst []byte, s string) ([]byte, error) {
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		if i == 0 && s[0] == '-' {
			return AppendFloat(dst, math.Copysign(0, -1)), nil
		}
		return AppendInt(dst, i), nil
	}
	if u, err := strconv.ParseUint(s, 10, 64); err == nil {
		return AppendUint(dst, u), nil
	}
	if !strings.ContainsAny(s, ".eE") {
		return dst, &ValueError{fmt.Sprintf("JSON: %.40s does not fit 64 bits: integers are %d to %d; write a float with a point or an exponent, or a string", s, math.MinInt64, uint64(math.MaxUint64))}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(f, 0) {
		return dst, &ValueError{fmt.Sprintf("JSON: %q is beyond the range of a 64-bit float", s)}
	}
	return appendNumber(dst, f)
}

package wire

import (
	"bytes"
	"slices"
	"unicode/utf8"
)

// AppendCanonical appends the canonical form of the one value in raw, which may come from an
// untrusted source. It neither changes nor keeps raw. A value that is canonical already is
// copied and costs no allocation beyond dst. Errors are *ValueError.
func AppendCanonical(dst, raw []byte) ([]byte, error) {
	if IsCanonical(raw) {
		return append(dst, raw...), nil
	}
	n, err := Check(raw, Limits{Bytes: MaxValueBytes, Depth: MaxDepth})
	if err != nil {
		return dst, checkError(err)
	}
	if n != len(raw) {
		return dst, errTrailing
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

// IsCanonical reports whether raw is exactly one value in canonical form. It
// copies nothing.
func IsCanonical(raw []byte) bool {
	r := NewReader(raw)
	return len(raw) <= MaxValueBytes && r.canonical(0) && r.Len() == 0
}

// canonical reads one value at depth and reports whether it is in canonical form.
func (r *Reader) canonical(depth int) bool {
	start := r.n
	code, body, count := r.next()
	if r.err != nil {
		return false
	}
	var scratch [9]byte // the longest header or number
	was := func(b []byte) bool { return bytes.HasPrefix(r.b[start:], b) }
	switch rankOf(code) {
	case rankNil, rankBool:
		return true
	case rankStr:
		return was(appendStrHeader(scratch[:0], len(body))) && utf8.Valid(body)
	case rankBin:
		return was(appendBinHeader(scratch[:0], len(body)))
	case rankArray:
		ok := depth < MaxDepth && was(AppendArray(scratch[:0], count))
		for i := 0; i < count && ok; i++ {
			ok = r.canonical(depth + 1)
		}
		return ok
	case rankMap:
		return depth < MaxDepth && was(AppendMap(scratch[:0], count/2)) && r.canonicalPairs(count/2, depth+1)
	case rankNumber:
		r.n = start
		b, err := r.number().append(scratch[:0])
		return err == nil && was(b)
	}
	return false
}

// canonicalPairs reads n pairs and reports whether they are canonical with keys that are strings in
// rising order.
func (r *Reader) canonicalPairs(n, depth int) bool {
	var last []byte
	for i := range n {
		if r.Peek() != TypeStr {
			return false
		}
		start := r.n
		if !r.canonical(depth) {
			return false
		}
		again := Reader{b: r.b, n: start}
		key := again.Str()
		if i > 0 && bytes.Compare(last, key) >= 0 || !r.canonical(depth) {
			return false
		}
		last = key
	}
	return true
}

type pair struct{ key, value []byte }

func appendCanonical(dst []byte, r *Reader, depth int) ([]byte, error) {
	start := r.n
	code, body, count := r.next()
	if r.err != nil {
		return dst, checkError(r.err)
	}
	switch rankOf(code) {
	case rankNil, rankBool:
		return append(dst, code), nil
	case rankStr:
		if !utf8.Valid(body) {
			return dst, errUTF8
		}
		return AppendStr(dst, body), nil
	case rankBin:
		return AppendBin(dst, body), nil
	case rankNumber:
		r.n = start
		return r.number().append(dst)
	case rankArray:
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
	case rankMap:
		if depth >= MaxDepth {
			return dst, errDepth
		}
		return appendCanonicalMap(dst, r, count/2, depth)
	}
	return dst, errExt
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

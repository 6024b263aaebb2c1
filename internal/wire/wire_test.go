package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"
	"pgregory.net/rapid"
)

// values draws anything that can be stored, in Go's natural types.
func values(depth int) *rapid.Generator[any] {
	leaves := rapid.OneOf(
		rapid.Just[any](nil),
		rapid.Custom(func(t *rapid.T) any { return rapid.Bool().Draw(t, "bool") }),
		rapid.Custom(func(t *rapid.T) any { return rapid.Int64().Draw(t, "int") }),
		rapid.Custom(func(t *rapid.T) any { return rapid.Uint64Range(math.MaxInt64+1, math.MaxUint64).Draw(t, "uint") }),
		rapid.Custom(func(t *rapid.T) any { return rapid.Float64Range(-2, 2).Draw(t, "float") + 1e-9 }),
		rapid.Custom(func(t *rapid.T) any { return rapid.String().Draw(t, "string") }),
		rapid.Custom(func(t *rapid.T) any { return rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "bytes") }),
	)
	if depth == 0 {
		return leaves
	}
	return rapid.OneOf(leaves,
		rapid.Custom(func(t *rapid.T) any { return rapid.SliceOfN(values(depth-1), 0, 20).Draw(t, "array") }),
		rapid.Custom(func(t *rapid.T) any {
			return rapid.MapOfN(rapid.String(), values(depth-1), 0, 20).Draw(t, "map")
		}),
	)
}

func encode(t testing.TB, v any) []byte {
	b, err := AppendValue(nil, v)
	if err != nil {
		t.Fatalf("encode %v: %v", v, err)
	}
	return b
}

func TestOneValueHasOneForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := values(2).Draw(t, "value")
		b, err := AppendValue(nil, v)
		if err != nil {
			t.Fatal(err)
		}
		if !IsCanonical(b) {
			t.Fatalf("% x is not canonical", b)
		}
		theirs, err := msgpack.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if same, err := AppendCanonical(nil, theirs); err != nil || !bytes.Equal(same, b) {
			t.Fatalf("through the library: % x, %v, want % x", same, err, b)
		}
		var back any
		if err := Unmarshal(b, &back); err != nil {
			t.Fatal(err)
		}
		if again, err := AppendValue(nil, back); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("there and back: % x, %v, want % x", again, err, b)
		}
		if Compare(b, b) != 0 {
			t.Fatal("differs from itself")
		}
	})
}

func TestJSONGoesThereAndBack(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		b, err := FromJSON(nil, []byte(in))
		if err != nil {
			t.Errorf("%s: %v", in, err)
			return
		}
		out, err := AppendJSON(nil, b)
		if err != nil || string(out) != want {
			t.Errorf("%s became %s, %v, want %s", in, out, err, want)
		}
		if !json.Valid(out) || !IsCanonical(b) {
			t.Errorf("%s: invalid output", in)
		}
	}
	f(`null`, `null`)
	f(` { "b" : [1, 2.5, -3], "a": {"x":true} } `, `{"a":{"x":true},"b":[1,2.5,-3]}`)
	f(`18446744073709551615`, `18446744073709551615`)
	f(`-9223372036854775808`, `-9223372036854775808`)
	f(`9007199254740993`, `9007199254740993`)
	f(`1.0`, `1`)
	f(`-0.0`, `-0.0`)
	f(`-0`, `-0.0`)
	f(`1e300`, `1e+300`)
	f(`1e19`, `1e+19`) // without an exponent it would come back as another type, or not at all
	f(`1e20`, `1e+20`)
	f(`-9223372036854775809.0`, `-9.223372036854776e+18`)
	f(`"\u0000\"\\é<"`, `"\u0000\"\\é\u003c"`)
	f(`[]`, `[]`)
	f(`{}`, `{}`)
}

func TestABadValueSaysWhatIsAllowed(t *testing.T) {
	deep := any(1)
	for range MaxDepth + 1 {
		deep = []any{deep}
	}
	f := func(v any, want string) {
		t.Helper()
		_, err := AppendValue(nil, v)
		var bad *ValueError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), want) {
			t.Errorf("%T: %v, want a ValueError with %q", v, err, want)
		}
	}
	f(math.NaN(), "NaN")
	f(math.Inf(1), "NaN")
	f("\xff", "UTF-8")
	f(deep, "deeper than 32")
	f(strings.Repeat("x", MaxValueBytes), "larger than 1048576")
	f(map[int]int{1: 2}, "keys must be strings")
	f(time.Now(), "extension types")
	f(make(chan int), "cannot encode")
	f(func() {}, "cannot encode")
	f(json.RawMessage(`{"a":1,"a":2}`), "twice")
	f(json.RawMessage(`1 2`), "follows")
	f(json.RawMessage(`{`), "JSON")
	f(json.Number("true"), "not a number")
	f(json.RawMessage(`[18446744073709551616]`), "integers are -9223372036854775808 to 18446744073709551615")
	f(json.RawMessage(`-9223372036854775809`), "does not fit 64 bits")

	type node struct{ Next *node }
	loop := &node{}
	loop.Next = loop
	f(loop, "deeper than 32")
	wide := any("0123456789abcdef")
	for range 20 { // 2^20 copies of 16 bytes, described by 20 slices
		wide = []any{wide, wide}
	}
	f(wide, "larger than 1048576")
}

func TestStructsUseTheirTags(t *testing.T) {
	type task struct {
		Status string         `json:"status"`
		Worker string         `msgpack:"by"`
		Left   *int           `json:"left,omitempty"`
		Extra  map[string]any `json:"extra"`
	}
	in := task{Status: "running", Worker: "n1", Extra: map[string]any{"n": int64(7)}}
	b := encode(t, in)
	js, err := AppendJSON(nil, b)
	if err != nil || string(js) != `{"by":"n1","extra":{"n":7},"status":"running"}` {
		t.Fatalf("%s, %v", js, err)
	}
	var out task
	if err := Unmarshal(b, &out); err != nil || out.Status != in.Status || out.Worker != in.Worker || out.Extra["n"] != int64(7) {
		t.Fatalf("%+v, %v", out, err)
	}
	if err := Unmarshal(encode(t, "text"), &out); err == nil {
		t.Fatal("text decoded into a struct")
	}
}

func TestNumbersCompareExactly(t *testing.T) {
	sorted := []any{math.MinInt64, -9007199254740993, -1.5, -1, 0, 0.5, 1, 9007199254740992, 9007199254740993, 1e17, uint64(math.MaxInt64), uint64(math.MaxInt64) + 1, uint64(math.MaxUint64), 1e300}
	for i, x := range sorted {
		for j, y := range sorted {
			got, err := CompareNumber(encode(t, x), encode(t, y))
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if err != nil || got != want {
				t.Errorf("%v against %v: %d, %v, want %d", x, y, got, err, want)
			}
		}
	}
	one := encode(t, 1)
	for name, b := range map[string][]byte{
		"text":              encode(t, "1"),
		"nothing":           {},
		"a number and more": {1, 1},
		"a longer form":     {0xcd, 0, 1},
		"a NaN":             {0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 1},
		"a cut double":      {0xcb, 0x7f},
		"the reserved byte": {0xc1},
	} {
		if _, err := CompareNumber(b, one); err == nil {
			t.Errorf("%s compared as a number", name)
		}
		if _, err := CompareNumber(one, b); err == nil {
			t.Errorf("%s compared as a number", name)
		}
	}
}

func TestCompareIsATotalOrder(t *testing.T) {
	sign := func(n int) int { return max(-1, min(1, n)) }
	rapid.Check(t, func(t *rapid.T) {
		g := values(1)
		enc := func(name string) []byte {
			b, err := AppendValue(nil, g.Draw(t, name))
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		a, b, c := enc("a"), enc("b"), enc("c")
		if sign(Compare(a, b)) != -sign(Compare(b, a)) {
			t.Fatal("not antisymmetric")
		}
		if (Compare(a, b) == 0) != bytes.Equal(a, b) {
			t.Fatal("zero is not equality")
		}
		if Compare(a, b) <= 0 && Compare(b, c) <= 0 && Compare(a, c) > 0 {
			t.Fatal("not transitive")
		}
	})
}

func TestCheckRefusesWhatIsBeyondItsLimits(t *testing.T) {
	f := func(b []byte, l Limits, reason string) {
		t.Helper()
		_, err := Check(b, l)
		var e *Error
		if !errors.As(err, &e) || e.Reason != reason {
			t.Errorf("% x: %v, want %s", b[:min(len(b), 8)], err, reason)
		}
	}
	f(nil, Limits{}, "truncated")
	f([]byte{0xdd, 0xff, 0xff, 0xff, 0xff}, Limits{}, "count")
	f([]byte{0xdf, 0xff, 0xff, 0xff, 0xff}, Limits{}, "count")
	f([]byte{0xdb, 0xff, 0xff, 0xff, 0xff}, Limits{}, "truncated")
	f([]byte{0xc6, 0x00}, Limits{}, "truncated")
	f([]byte{0xc1}, Limits{}, "type")
	f([]byte{0xd6, 0xff, 0, 0, 0, 0}, Limits{}, "type")
	f(bytes.Repeat([]byte{0x91}, 100), Limits{}, "depth")
	f(append(bytes.Repeat([]byte{0x91}, 5), 1), Limits{Depth: 4}, "depth")
	f([]byte{0x93, 1, 2, 3}, Limits{Nodes: 3}, "nodes")
	f([]byte{0xa3, 'a', 'b', 'c'}, Limits{Bytes: 3}, "bytes")
	if n, err := Check([]byte{0x93, 1, 2, 3, 99}, Limits{Nodes: 4, Depth: 1, Bytes: 4}); n != 4 || err != nil {
		t.Errorf("a good object: %d, %v", n, err)
	}
}

// allocated returns how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestFiveBytesAllocateNothing(t *testing.T) {
	for _, head := range []byte{0xdd, 0xdf, 0xdb, 0xc6} {
		b := []byte{head, 0xff, 0xff, 0xff, 0xff}
		if n := testing.AllocsPerRun(100, func() { _, _ = Check(b, Limits{}) }); n > 1 { // the error itself
			t.Errorf("%x: %v allocations", head, n)
		}
		var v any
		if n := allocated(func() { _ = Unmarshal(b, &v) }); n > 4096 {
			t.Errorf("%x: %d bytes", head, n)
		}
	}
}

// ceiling is what decoding n bytes may allocate: Go's own types are larger than
// their encoding, by a bounded factor.
func ceiling(n int) uint64 { return 64<<10 + 200*uint64(n) }

func FuzzUnmarshal(f *testing.F) {
	f.Add([]byte{0xdd, 0xff, 0xff, 0xff, 0xff})
	f.Add(encode(f, map[string]any{"a": []any{1, "x", nil, 2.5}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var v any
		if n := allocated(func() { _ = Unmarshal(b, &v) }); n > ceiling(len(b)) {
			t.Fatalf("%d bytes of input allocate %d", len(b), n)
		}
	})
}

func FuzzAppendCanonical(f *testing.F) {
	f.Add([]byte{0x82, 0xa1, 'b', 1, 0xa1, 'a', 0xcb, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var c []byte
		var err error
		if n := allocated(func() { c, err = AppendCanonical(nil, b) }); n > ceiling(len(b)) {
			t.Fatalf("%d bytes of input allocate %d", len(b), n)
		}
		if err != nil {
			return
		}
		if again, err := AppendCanonical(nil, c); err != nil || !bytes.Equal(again, c) {
			t.Fatalf("not a fixed point: % x, then % x, %v", c, again, err)
		}
		if js, err := AppendJSON(nil, c); err != nil || !json.Valid(js) {
			t.Fatalf("no JSON: %s, %v", js, err)
		}
	})
}

func FuzzFromJSON(f *testing.F) {
	f.Add([]byte(`{"a":[1,2.5,"x",null,true]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var c []byte
		var err error
		if n := allocated(func() { c, err = FromJSON(nil, b) }); n > ceiling(len(b)) {
			t.Fatalf("%d bytes of input allocate %d", len(b), n)
		}
		if err != nil {
			return
		}
		if !IsCanonical(c) {
			t.Fatalf("% x is not canonical", c)
		}
		js, err := AppendJSON(nil, c)
		if again, err2 := FromJSON(nil, js); err != nil || err2 != nil || !bytes.Equal(again, c) {
			t.Fatalf("% x became %s, %v, and back % x, %v", c, js, err, again, err2)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	v := encode(b, map[string]any{"a": []any{1, 2, 3, "four", nil, true}, "b": map[string]any{"c": 1.5, "d": "text"}})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Check(v, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendValue(b *testing.B) {
	var buf [512]byte
	value := any(strings.Repeat("v", 200))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := AppendValue(buf[:0], value); err != nil {
			b.Fatal(err)
		}
	}
}

package crdt

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

func mustValue(t testing.TB, v any) Value {
	t.Helper()
	value, err := ValueOf(v)
	if err != nil {
		t.Fatalf("%v: %v", v, err)
	}
	return value
}

func TestOneValueHasOneForm(t *testing.T) {
	f := func(a, b any) {
		t.Helper()
		if x, y := mustValue(t, a), mustValue(t, b); x != y || !x.Equal(y) || x.Compare(y) != 0 {
			t.Errorf("%v and %v differ: %x, %x", a, b, x.Raw(), y.Raw())
		}
	}
	f(1, uint8(1))
	f(1, 1.0)
	f(math.Copysign(0, -1), json.Number("-0"))
	f([]string{"a"}, []any{"a"})
	f(map[string]int{"b": 1, "a": 2}, map[string]any{"a": int64(2), "b": uint(1)})
	f(struct {
		A int `json:"a"`
	}{1}, map[string]any{"a": 1})
	f(json.RawMessage(`{"a":[1,null]}`), map[string]any{"a": []any{1, nil}})
}

func TestJSONAndRawMakeTheSameValues(t *testing.T) {
	want := mustValue(t, map[string]any{"a": []any{1, "x", nil, true, 1.5}})
	fromJSON, err := JSONValue([]byte(` {"a": [1.0, "x", null, true, 15e-1]} `))
	if err != nil || fromJSON != want {
		t.Errorf("%v, %v", fromJSON, err)
	}
	loose := "\x81\xd9\x01a\xdc\x00\x05\xd3\x00\x00\x00\x00\x00\x00\x00\x01\xa1x\xc0\xc3\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00"
	raw, err := RawValue([]byte(loose))
	if err != nil || raw != want {
		t.Errorf("%v, %v", raw, err)
	}
	if want.String() != `{"a":[1,"x",null,true,1.5]}` {
		t.Error(want)
	}
}

func TestWhatCannotBeStoredIsRefused(t *testing.T) {
	deep := any(1)
	for range 33 {
		deep = []any{deep}
	}
	for name, v := range map[string]any{
		"NaN": math.NaN(), "infinity": math.Inf(1), "bad UTF-8": "\xff", "deep": deep, "large": strings.Repeat("x", 1<<20),
		"channel": make(chan int), "integer keys": map[int]int{1: 1}, "nested NaN": []any{1, math.NaN()},
	} {
		value, err := ValueOf(v)
		if _, ok := errors.AsType[*wire.ValueError](err); !ok || !value.IsZero() {
			t.Errorf("%s: %v, %v", name, value, err)
		}
	}
	for _, s := range []string{"", "{", "1 2", `{"a":1,"a":2}`, "NaN", "'a'"} {
		if value, err := JSONValue([]byte(s)); err == nil || !value.IsZero() {
			t.Errorf("JSON %q: %v, %v", s, value, err)
		}
	}
	for _, s := range []string{"", "\xc1", "\x91", "\xdd\xff\xff\xff\xff", "\x01\x01", "\xd4\x01\x00", "\x81\x01\x01"} {
		if value, err := RawValue([]byte(s)); err == nil || !value.IsZero() {
			t.Errorf("raw %q: %v, %v", s, value, err)
		}
	}
}

// A value is read back as it was stored. Text that the encoding would change is refused.
func TestZeroKeepsItsSignAndTextItsCharacters(t *testing.T) {
	for _, s := range []string{"-0.0", "[0,-0.0]", `"\ud83d\ude00"`, `"\\ud800"`, `"\u00e9"`} {
		v, err := JSONValue([]byte(s))
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		b, _ := v.AppendJSON(nil)
		again, err := JSONValue(b)
		if err != nil || again != v || s[0] != '"' && string(b) != s {
			t.Errorf("%s is read back as %s, %v", s, b, err)
		}
	}
	negative := mustValue(t, math.Copysign(0, -1))
	var f float64
	var n int
	if err := negative.Decode(&f); err != nil || f != 0 || !math.Signbit(f) {
		t.Errorf("%v, %v", f, err)
	}
	if err := negative.Decode(&n); err == nil {
		t.Error("an integer has no sign at zero")
	}
	zero := mustValue(t, 0)
	if negative == zero || negative.Compare(zero) == 0 || negative.Compare(zero) != -zero.Compare(negative) || negative.Compare(mustValue(t, -1)) < 0 || negative.Compare(mustValue(t, 1)) > 0 {
		t.Error("-0.0 has no place of its own among the numbers")
	}
	for _, s := range []string{`"\ud800"`, `"\udc00"`, `"\ud800\u0041"`, `"\ud800\ud800"`, `{"a\udfff":1}`, `["\\\ud800"]`, "\"\xff\"", `"\uD800`} {
		if v, err := JSONValue([]byte(s)); err == nil {
			t.Errorf("%s is taken as %s", s, v)
		}
	}
}

func TestAbsentIsNotNull(t *testing.T) {
	var absent Value
	null := mustValue(t, nil)
	if !absent.IsZero() || null.IsZero() || absent == null || absent.Compare(null) == 0 {
		t.Error("absent and null are one")
	}
	if absent.Any() != nil || absent.String() != "null" || null.String() != "null" {
		t.Error(absent.Any(), absent, null)
	}
	if err := absent.Decode(new(any)); err == nil {
		t.Error("an absent value decodes")
	}
	if _, err := ValueOf(absent); err != nil {
		t.Error(err)
	}
}

func TestValuesDecodeWithoutSharingMemory(t *testing.T) {
	v := mustValue(t, map[string]any{"b": []byte("abc"), "n": 3, "s": "x"})
	before := strings.Clone(v.Raw())
	var p struct {
		B []byte `json:"b"`
		N int    `json:"n"`
		S string `msgpack:"s"`
	}
	if err := v.Decode(&p); err != nil || p.N != 3 || p.S != "x" || string(p.B) != "abc" {
		t.Fatal(p, err)
	}
	m := v.Any().(map[string]any)
	if want := map[string]any{"b": []byte("abc"), "n": int64(3), "s": "x"}; !reflect.DeepEqual(m, want) {
		t.Errorf("%v", m)
	}
	p.B[0], m["b"].([]byte)[0] = '!', '!'
	if v.Raw() != before {
		t.Error("a decoded value shares memory with the stored one")
	}
}

func TestValuesNestInsideOthers(t *testing.T) {
	inner := mustValue(t, []any{1, 2})
	type task struct {
		Payload Value `json:"payload"`
		Empty   Value `json:"empty"`
	}
	v := mustValue(t, task{Payload: inner})
	if want := mustValue(t, map[string]any{"payload": []any{1, 2}, "empty": nil}); v != want {
		t.Fatalf("%s, want %s", v, want)
	}
	var p task
	if err := v.Decode(&p); err != nil || p.Payload != inner {
		t.Errorf("%v, %v", p, err)
	}
	b, err := json.Marshal(task{Payload: inner})
	if err != nil || string(b) != `{"payload":[1,2],"empty":null}` {
		t.Errorf("%s, %v", b, err)
	}
	p = task{}
	if err := json.Unmarshal(b, &p); err != nil || p.Payload != inner {
		t.Errorf("%v, %v", p, err)
	}
}

package wire

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
)

// objects holds each type of object in each of its widths, the widest last, and a
// value that only its own type has.
var objects = map[string][][]byte{
	"nil":     {{0xc0}},
	"bool":    {{0xc3}},
	"natural": {{7}, {0xcc, 7}, {0xcd, 0, 7}, {0xce, 0, 0, 0, 7}, {0xcf, 0, 0, 0, 0, 0, 0, 0, 7}},
	"whole":   {{0xf9}, {0xd0, 0xf9}, {0xd1, 0xff, 0xf9}, {0xd2, 0xff, 0xff, 0xff, 0xf9}, {0xd3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xf9}},
	"float":   {{0xca, 0x3f, 0xc0, 0, 0}, {0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0}},
	"str":     {{0xa2, 'a', 'b'}, {0xd9, 2, 'a', 'b'}, {0xda, 0, 2, 'a', 'b'}, {0xdb, 0, 0, 0, 2, 'a', 'b'}},
	"bin":     {{0xc4, 2, 'a', 'b'}, {0xc5, 0, 2, 'a', 'b'}, {0xc6, 0, 0, 0, 2, 'a', 'b'}},
	"array":   {{0x92, 7, 7}, {0xdc, 0, 2, 7, 7}, {0xdd, 0, 0, 0, 2, 7, 7}},
	"map":     {{0x81, 7, 7}, {0xde, 0, 1, 7, 7}, {0xdf, 0, 0, 0, 1, 7, 7}},
	"ext":     {{0xd4, 1, 0}},
}

// A read takes the types that it is for in every width, refuses all others, and a
// Reader that refused something returns zero values from then on.
func TestAReadTakesItsTypeOnly(t *testing.T) {
	for name, c := range map[string]struct {
		read func(*Reader) bool // whether the value is right
		of   string
	}{
		"Uint":     {func(r *Reader) bool { return r.Uint() == 7 }, "natural"},
		"Int":      {func(r *Reader) bool { n := r.Int(); return n == 7 || n == -7 }, "natural whole"},
		"Float":    {func(r *Reader) bool { f := r.Float(); return f == 7 || f == -7 || f == 1.5 }, "natural whole float"},
		"Bool":     {func(r *Reader) bool { return r.Bool() }, "bool"},
		"Nil":      {func(r *Reader) bool { return r.Nil() }, "nil"},
		"Str":      {func(r *Reader) bool { return string(r.Str()) == "ab" }, "str"},
		"Bin":      {func(r *Reader) bool { return string(r.Bin()) == "ab" }, "bin"},
		"ArrayLen": {func(r *Reader) bool { return r.ArrayLen() == 2 && r.Int() == 7 && r.Int() == 7 }, "array"},
		"MapLen":   {func(r *Reader) bool { return r.MapLen() == 1 && r.Int() == 7 && r.Int() == 7 }, "map"},
	} {
		for kind, list := range objects {
			for _, b := range list {
				r := NewReader(b)
				right := c.read(&r)
				if !strings.Contains(c.of, kind) {
					if right || name != "Nil" && r.Err() == nil {
						t.Errorf("%s reads %x, of type %s: %v", name, b, kind, r.Err())
					}
					if name != "Nil" && (r.Uint() != 0 || r.Int() != 0 || r.Float() != 0 || r.Str() != nil || r.Bin() != nil || r.Raw() != nil ||
						r.ArrayLen() != 0 || r.MapLen() != 0 || r.Nil() || r.Peek() != TypeNone) {
						t.Errorf("%s goes on after it refused %x", name, b)
					}
					continue
				}
				if !right || r.Err() != nil || r.Len() != 0 {
					t.Errorf("%s of %x, of type %s: %d bytes left, %v", name, b, kind, r.Len(), r.Err())
				}
				for n := range b {
					if r := NewReader(b[:n]); c.read(&r) || name != "Nil" && r.Err() == nil {
						t.Errorf("%s reads %x, which is cut off", name, b[:n])
					}
				}
			}
		}
	}
}

func TestNumbersThatDoNotFitAreRefused(t *testing.T) {
	big := AppendUint(nil, math.MaxUint64)
	r := NewReader(big)
	if r.Uint() != math.MaxUint64 || r.Err() != nil {
		t.Error("the greatest unsigned integer is not read")
	}
	if r = NewReader(big); r.Float() != math.MaxUint64 || r.Err() != nil {
		t.Error("the greatest unsigned integer is no number")
	}
	if r = NewReader(big); r.Int() != 0 || r.Err() == nil {
		t.Error("an integer above the signed ones is read as one")
	}
	if r = NewReader(AppendInt(nil, math.MinInt64)); r.Int() != math.MinInt64 || r.Err() != nil {
		t.Error("the least integer is not read")
	}
}

func TestRawAndSkipTakeOneWholeObject(t *testing.T) {
	for kind, list := range objects {
		for _, b := range list {
			two := append(bytes.Clone(b), 9)
			r := NewReader(two)
			if kind == "ext" {
				if r.Raw() != nil || r.Err() == nil {
					t.Errorf("%x is read", b)
				}
				continue
			}
			if raw := r.Raw(); !bytes.Equal(raw, b) || cap(raw) != len(raw) {
				t.Errorf("Raw of %x is %x, with room for %d", two, raw, cap(raw))
			}
			if r = NewReader(two); r.Peek() == TypeNone {
				t.Errorf("%x is of no type", b)
			}
			if r.Skip(); r.Uint() != 9 || r.Err() != nil {
				t.Errorf("after %x was skipped, %v", b, r.Err())
			}
		}
	}
}

// An error names where it is, in what was read as a whole.
func TestTheFirstErrorSticks(t *testing.T) {
	r := NewReader([]byte{7, 0x92, 7})
	r.Uint()
	r.Raw()
	first := r.Err()
	var e *Error
	if !errors.As(first, &e) || e.Offset < 1 || e.Offset > 3 {
		t.Fatalf("the error is %v", first)
	}
	if r.Fail("something else"); r.Err() != first {
		t.Errorf("the error became %v", r.Err())
	}
}

func TestTypesAreInTheOrderOfValues(t *testing.T) {
	order := []string{"nil", "bool", "natural", "str", "bin", "array", "map"}
	for i, kind := range order {
		for _, b := range objects[kind] {
			r := NewReader(b)
			if got := r.Peek(); got != Type(i+1) {
				t.Errorf("%x is of type %d, want %d", b, got, i+1)
			}
			for j, other := range order { // a width that is not the narrowest is nobody's value
				if i == j {
					continue
				}
				if c := Compare(b, objects[other][0]); c < 0 != (i < j) || c > 0 != (i > j) {
					t.Errorf("%s and %s compare as %d", kind, other, c)
				}
			}
		}
	}
}

package crdt

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// odd draws operations that a caller may try. Most of them are at the limits or beyond.
type odd struct {
	b     []byte
	large bool // whether one of its values is large
}

func (o *odd) n(below int) int {
	if len(o.b) == 0 {
		return 0
	}
	n := int(o.b[0]) % below
	o.b = o.b[1:]
	return n
}

func (o *odd) text() string {
	n := min(o.n(6), len(o.b))
	s := string(o.b[:n])
	o.b = o.b[n:]
	return s
}

func (o *odd) value() Value {
	var v any
	kind := o.n(12)
	if large := kind == 6 || kind == 8; large && o.large {
		kind = 11
	} else if large {
		o.large = true
	}
	switch kind {
	case 0:
		return Value{}
	case 1:
		v = nil
	case 2:
		v = o.text()
	case 3:
		v = []any{nil, 1, []any{}, o.text()}
	case 4:
		v = map[string]any{"a": nil, o.text(): map[string]any{"b": nil}, "c": []any{}}
	case 5:
		v, _ := RawValue(nested(o.n(40)).bytes()) // absent beyond the limit
		return v
	case 6:
		v = strings.Repeat("x", 1<<20-o.n(8))
	case 7:
		v = map[string]any{strings.Repeat("n", 4<<10-o.n(8)): 1}
	case 8:
		v = make([]int, 4090+o.n(12))
	case 9:
		v = []float64{0, math.MaxFloat64, math.Copysign(0, -1), -1 << 60}[o.n(4)]
	case 10:
		v = map[string]any{"a": map[string]any{"b": map[string]any{}}, "": 1}
	default:
		raw, err := RawValue(o.b)
		if err != nil {
			v = o.n(3)
			break
		}
		return raw
	}
	made, _ := ValueOf(v)
	return made
}

func (o *odd) op() Op {
	op := Op{Verb: Verb(o.n(9)), Kind: Kind(o.n(8)), Key: []string{"k", "l", "", "a//b", strings.Repeat("k", 1025)}[o.n(16)%5*o.n(2)]}
	for range o.n(3) * o.n(2) {
		op.Path = append(op.Path, o.text())
	}
	if o.n(20) == 1 {
		op.Path = segments(25 + o.n(10))
	}
	op.Delta = []int64{0, 1, -3, math.MaxInt64, math.MinInt64, math.MaxInt64 - 1}[o.n(6)]
	op.Expiry = []uint64{0, 0, 4, 9, math.MaxUint64}[o.n(5)]
	op.Value = o.value()
	for range o.n(4) {
		op.Values = append(op.Values, o.value())
	}
	return op
}

// An empty peer accepts what Apply accepts, and both then hold the same bytes.
func FuzzWhatIsWrittenIsTaken(f *testing.F) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 9))
		b := make([]byte, 20+rng.IntN(300))
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		f.Add(b)
	}
	f.Add([]byte("\x03\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		o := odd{b: b}
		writer, follower, late := New(Config{Actor: here}), New(Config{Actor: there}), New(Config{Actor: there})
		for stamp := clock.Timestamp(1); len(o.b) > 0 && stamp < 9; stamp++ {
			ops := make([]Op, 1+o.n(4)*o.n(2))
			for i := range ops {
				ops[i] = o.op()
			}
			made, err := writer.Apply(stamp, 5, ops...)
			if err != nil {
				continue
			}
			mergeInto(t, writer, follower, made)
		}
		if last := writer.Last(); last > 0 {
			var live []Delta
			writer.Live(here, 1, last, func(d Delta) bool {
				live = append(live, d)
				return true
			})
			mergeInto(t, writer, late, live)
			late.Adopt(writer.Context())
		}
		checkCounts(t, writer)
		for _, s := range []*Store{follower, late} {
			if !bytes.Equal(s.AppendState(nil), writer.AppendState(nil)) {
				t.Fatal("a peer that has taken all holds something else")
			}
		}
		writer.Ascend(KeyRange{}, func(key string, _ Entry, _ bool) bool {
			x, ok := writer.Render(key, 5)
			y, same := follower.Render(key, 5)
			if ok != same || ok && (x.Value() != y.Value() || x.Kind() != y.Kind()) {
				t.Fatalf("%q reads %v here and %v there", key, x, y)
			}
			if ok && x.Kind() != Custom && len(x.Value().Raw()) <= wire.MaxValueBytes {
				if v, err := RawValue([]byte(x.Value().Raw())); err != nil || v != x.Value() {
					t.Fatalf("%q reads back as no value: %v", key, err)
				}
			}
			return true
		})
	})
}

// mergeInto makes to merge the deltas that from made, in sections as a frame carries them.
func mergeInto(t *testing.T, from, to *Store, made []Delta) {
	t.Helper()
	for len(made) > 0 {
		n := min(len(made), wire.MaxSectionDeltas)
		var table ActorTable
		first, last := made[0].Seq(), made[n-1].Seq()
		section := from.AppendSection(nil, &table, made[0].Actor(), first, last, made[:n])
		r := wire.NewReader(section)
		if res, err := to.JoinSection(&r, table.Actors(), 1<<62); err != nil {
			t.Fatalf("a peer refuses what was written: %v after %+v", err, res)
		}
		made = made[n:]
	}
}

// The absent Value of a missing key is refused wherever an operation takes a value.
func TestAnAbsentValueIsRefusedEverywhere(t *testing.T) {
	for _, op := range []Op{
		{Verb: Put}, {Verb: Put, Kind: Register}, {Verb: Put, Kind: Set}, {Verb: Put, Kind: Object}, {Verb: Put, Kind: Max}, {Verb: Put, Kind: Custom},
		{Verb: Put, Path: []string{"a"}}, {Verb: Put, Path: []string{"a"}, Kind: Object}, {Verb: Patch}, {Verb: Patch, Path: []string{"a"}}, {Verb: Bump},
		{Verb: Add, Values: []Value{{}}}, {Verb: Add, Values: []Value{num(1), {}}}, {Verb: Add, Path: []string{"a"}, Values: []Value{{}}}, {Verb: Remove, Values: []Value{{}}},
		{Verb: Bump, Path: []string{"a"}}, {Verb: Add}, {Verb: Remove}, {}, {Verb: 99},
	} {
		op.Key = "k"
		s := New(Config{Actor: here})
		deltas, err := s.Apply(1, 1, op)
		if bad := (*wire.ValueError)(nil); err == nil || len(deltas) > 0 || op.Verb > 0 && op.Verb < 99 && !errors.As(err, &bad) {
			t.Errorf("%+v: %v", op, err)
		}
	}
}

// A replica refuses a record that no operation can make, whichever peer sent it.
func TestWhatNoOperationMakesIsRefusedOfOthers(t *testing.T) {
	for name, c := range map[string]struct {
		kind       slotKind
		path, body string
	}{
		"a null in an object":       {slotRegister, pathOf([]string{"a"}), "\xc0"},
		"an absent value":           {slotRegister, "", ""},
		"an absent element":         {slotElement, elementPath("", Value{}), ""},
		"a value nested too deep":   {slotRegister, pathOf(segments(wire.MaxDepth)), nested(1).raw},
		"a maximum of text":         {slotMax, "", mustOf("x").raw},
		"a counter of one part":     {slotCounter, "", mustOf([]int{1}).raw},
		"a marker that says more":   {slotMarker, "", object("a", 1).raw},
		"siblings inside an object": {slotSibling, pathOf([]string{"a"}), mustOf(1).raw},
	} {
		from, to := New(Config{Actor: here}), New(Config{Actor: there})
		w := writer{s: from, stamp: 1, cell: from.cellOf("k")}
		w.put(c.kind, c.path, c.body)
		var table ActorTable
		r := wire.NewReader(from.AppendSection(nil, &table, here, 1, 1, from.deltas))
		if _, err := to.JoinSection(&r, table.Actors(), 1<<62); err == nil || to.Len() > 0 {
			t.Errorf("%s: %v, with %d keys", name, err, to.Len())
		}
	}
}

package crdt

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// nested returns the number 1 inside n arrays.
func nested(n int) Value {
	return Value{strings.Repeat("\x91", n) + "\x01"}
}

func segments(n int) []string { return strings.Split(strings.Repeat("a", n), "") }

// sectionAt returns a section of one record, of the actor with number 0, at a path of key k.
func sectionAt(kind slotKind, path, body string) []byte {
	b := wire.AppendUint(wire.AppendUint(wire.AppendArray(nil, 4), 0), 1)
	b = wire.AppendArray(wire.AppendUint(b, 1), 1)
	b = wire.AppendUint(wire.AppendArray(b, 6), uint64(kind)<<flagBits|flagPath)
	b = wire.AppendInt(wire.AppendBin(wire.AppendUint(b, 0), "k"), 0)
	return wire.AppendBin(wire.AppendBin(b, body), path)
}

// A value that was acknowledged can be read as JSON, and the JSON can be written again.
func TestAPathAndWhatIsAtItNestNoDeeperThanAValue(t *testing.T) {
	f := func(op Op, good bool) {
		t.Helper()
		op.Key = "k"
		r := newReplica(1)
		err := r.apply(t, op)
		if !good {
			if err == nil || !strings.Contains(err.Error(), "at most 32 are allowed") {
				t.Errorf("%v: error %v", op, err)
			}
			return
		}
		e, ok := r.Render("k", 0)
		if err != nil || !ok {
			t.Fatalf("%v: %v", op, err)
		}
		b, err := json.Marshal(e.Value())
		if err == nil {
			_, err = JSONValue(b)
		}
		if err != nil {
			t.Errorf("%v: read back: %v", op, err)
		}
		newReplica(2).receive(t, r.log[0])
	}
	for _, n := range []int{1, 20, 31} {
		f(Op{Verb: Put, Path: segments(n), Value: nested(wire.MaxDepth - n)}, true)
		f(Op{Verb: Put, Path: segments(n), Value: nested(wire.MaxDepth - n + 1)}, false)
		f(Op{Verb: Put, Path: segments(n), Kind: Register, Value: nested(wire.MaxDepth - n + 1)}, false)
		f(Op{Verb: Add, Path: segments(n), Values: []Value{num(1), nested(wire.MaxDepth - n - 1)}}, true)
		f(Op{Verb: Add, Path: segments(n), Values: []Value{num(1), nested(wire.MaxDepth - n)}}, false)
		f(Op{Verb: Patch, Path: segments(n), Value: object("b", nested(wire.MaxDepth-n-1))}, true)
		f(Op{Verb: Patch, Path: segments(n), Value: object("b", nested(wire.MaxDepth-n))}, false)
	}
	f(Op{Verb: Put, Path: segments(wire.MaxDepth), Value: num(1)}, true)
	f(Op{Verb: Put, Path: segments(wire.MaxDepth), Value: Value{"\x80"}}, false)
	f(Op{Verb: Increment, Path: segments(wire.MaxDepth), Delta: 1}, true)
	f(Op{Verb: Put, Value: nested(wire.MaxDepth)}, true)
	f(Op{Verb: Add, Values: []Value{nested(wire.MaxDepth - 1)}}, true)
	f(Op{Verb: Add, Values: []Value{nested(wire.MaxDepth)}}, false)
}

// A section with a path that no Op can have is refused. To render a path of very many levels
// would take long.
func TestAPathBeyondTheLimitsOfAnOpIsRefused(t *testing.T) {
	names := func(n int, name string) string { return strings.Repeat(string(wire.AppendStr(nil, name)), n) }
	in := func(v Value) string { return elementPath("", v) }
	wide := strings.Repeat("w", wire.MaxPathBytes-3) // with its header of 3 bytes the longest path that is allowed
	f := func(name string, kind slotKind, path string, good bool) {
		t.Helper()
		body := ""
		if kind == slotRegister || kind >= firstUnknown {
			body = "\x01"
		}
		s := New(Config{Actor: here})
		r := wire.NewReader(sectionAt(kind, path, body))
		res, err := s.JoinSection(&r, []clock.Actor{there}, 1<<62)
		if (err == nil) != good || len(res.Joined) == 1 != good || s.Context().Contains(clock.Dot{Actor: there, Seq: 1}) != good {
			t.Errorf("%s: %+v, %v", name, res, err)
		}
		if e, ok := s.Render("k", 0); ok {
			if _, err := e.Value().AppendJSON(nil); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	f("a leaf as deep as may be", slotRegister, names(wire.MaxDepth, "a"), true)
	f("a deeper leaf", slotRegister, names(wire.MaxDepth+1, "a"), false)
	f("a leaf far below", slotRegister, names(200_000, "a"), false)
	f("an element as deep as may be", slotElement, names(wire.MaxDepth-2, "a")+in(nested(1)), true)
	f("a deeper element", slotElement, names(wire.MaxDepth-1, "a")+in(nested(1)), false)
	f("an element in a longer form", slotElement, "\xa1a\xc5\x00\x01\x01", false)
	f("an absent element", slotElement, "\xa1a\xc4\x00", false)
	f("a set deeper still", slotElement, names(wire.MaxDepth, "a")+in(num(1)), false)
	f("a long name", slotRegister, names(1, wide), true)
	f("a longer name", slotRegister, names(1, wide+"w"), false)
	f("a large element", slotElement, names(1, wide)+in(text(wire.MaxValueBytes-5)), true)
	f("an element below a longer name", slotElement, names(1, wide+"w")+in(num(1)), false)
	f("a name that is not UTF-8", slotRegister, names(1, "\xff"), false)
	f("a name in a longer form", slotRegister, "\xd9\x01a", false)
	f("of a later kind", 70, names(40, "a"), true)
}

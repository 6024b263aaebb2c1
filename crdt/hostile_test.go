package crdt

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// someSections returns sections with records of every kind.
func someSections(seed uint64) [][]byte {
	rng := rand.New(rand.NewPCG(seed, 3))
	r := newReplica(1)
	for range 60 {
		_ = r.apply(&testing.B{}, randomOp(rng))
	}
	var out [][]byte
	for _, p := range r.log {
		out = append(out, p.bytes)
	}
	return out
}

// Whatever bytes arrive, a store does not panic, its counts stay right, and reads work.
func FuzzJoinSection(f *testing.F) {
	for _, s := range someSections(1) {
		f.Add(s, s)
	}
	f.Add(voids(8192, 4096), voids(3, 3))
	actors := []clock.Actor{here, there, {Birth: 1, Rand: 3}}
	f.Fuzz(func(t *testing.T, one, two []byte) {
		s := New(Config{Actor: here})
		for _, b := range [][]byte{one, two, one} {
			r := wire.NewReader(b)
			res, err := s.JoinSection(&r, actors, 1<<62)
			if err == nil && res.Last+1 < res.First {
				t.Fatalf("range %d to %d", res.First, res.Last)
			}
			if len(res.Joined) > maxJoined {
				t.Fatalf("%d deltas", len(res.Joined))
			}
		}
		checkCounts(t, s)
		s.Ascend(KeyRange{}, func(key string, _ Entry, _ bool) bool {
			s.Render(key, 5)
			s.Alternatives(key, 5)
			for _, op := range []Op{{Verb: Patch, Key: key, Value: object("a", 1)}, {Verb: Delete, Key: key}} {
				_, _ = s.Apply(1<<62, 5, op)
			}
			return true
		})
		s.Expire(1 << 62)
		checkCounts(t, s)
	})
}

func object(kv ...any) Value {
	m := make(map[string]any)
	for i := 0; i < len(kv); i += 2 {
		m[kv[i].(string)] = kv[i+1]
	}
	v, err := ValueOf(m)
	if err != nil {
		panic(err)
	}
	return v
}

// Flipped bits in valid sections reach more of the decoder than random bytes do.
func TestDamagedSectionsAreRefusedOrMergedWhole(t *testing.T) {
	actors := []clock.Actor{here, there}
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 4))
		s := New(Config{Actor: there})
		for _, b := range someSections(seed) {
			if rng.IntN(2) == 0 {
				b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
			}
			r := wire.NewReader(b)
			_, _ = s.JoinSection(&r, actors, 1<<62)
		}
		checkCounts(t, s)
		s.Ascend(KeyRange{}, func(key string, _ Entry, _ bool) bool { s.Render(key, 5); return true })
	}
}

func TestADeltaFromTheFutureIsAskedForAgain(t *testing.T) {
	src, dst := newReplica(1), newReplica(2)
	if err := src.apply(t, Op{Verb: Put, Key: "k", Value: text(3)}); err != nil {
		t.Fatal(err)
	}
	p := src.log[0]
	r := wire.NewReader(p.bytes)
	res, err := dst.JoinSection(&r, p.actors, 1)
	if err != nil || res.Quarantined != 1 || len(res.Joined) != 0 || dst.Len() != 0 || dst.Context().Contains(clock.Dot{Actor: src.actor, Seq: 1}) {
		t.Fatalf("%+v, %v", res, err)
	}
	dst.receive(t, p)
	if dst.Len() != 1 {
		t.Fatal("not merged the second time")
	}
}

func TestARecordOfAnUnknownKindIsRelayedByteForByte(t *testing.T) {
	section := wire.AppendArray(nil, 4)
	section = wire.AppendUint(section, 0)
	section = wire.AppendUint(section, 1)
	section = wire.AppendUint(section, 7)
	section = wire.AppendArray(section, 1)
	section = wire.AppendArray(section, 6)
	section = wire.AppendUint(section, 70<<flagBits|flagPath)
	section = wire.AppendUint(section, 0)
	section = wire.AppendBin(section, "key")
	section = wire.AppendInt(section, 0)
	section = wire.AppendBin(section, "\xc1 not msgpack")
	section = wire.AppendBin(section, "\xa1p")
	s := New(Config{Actor: here})
	r := wire.NewReader(section)
	res, err := s.JoinSection(&r, []clock.Actor{there}, 1<<62)
	if err != nil || len(res.Joined) != 1 {
		t.Fatal(res, err)
	}
	var table ActorTable
	if again := s.AppendSection(nil, &table, there, 1, 1, res.Joined); string(again) != string(section) {
		t.Fatalf("\n%x\n%x", section, again)
	}
	if _, ok := s.Render("key", 0); ok || s.Len() != 0 {
		t.Fatal("an unknown kind is shown")
	}
}

func TestAContextLearnsAnActorWithItsFirstDot(t *testing.T) {
	a, b := newReplica(1), newReplica(2)
	if err := a.apply(t, Op{Verb: Put, Key: "k", Value: text(1)}); err != nil {
		t.Fatal(err)
	}
	b.receive(t, a.log[0])
	if x, y := a.Context().AppendTo(nil), b.Context().AppendTo(nil); string(x) != string(y) {
		t.Fatal("equal contexts encode differently")
	}
}

// The dots of a section must fit into a context, because peers read contexts back.
func TestASectionEndsAtTheGreatestNumber(t *testing.T) {
	section := func(first uint64, items ...int64) []byte { // item 0 stands for a delete of k
		b := wire.AppendUint(wire.AppendUint(wire.AppendArray(nil, 4), 0), first)
		b = wire.AppendArray(wire.AppendUint(b, 1), len(items))
		for _, n := range items {
			if n != 0 {
				b = wire.AppendInt(b, n)
				continue
			}
			b = wire.AppendUint(wire.AppendArray(b, 5), uint64(slotRegister)<<flagBits|flagTomb)
			b = wire.AppendBin(wire.AppendUint(b, 0), "k")
			b = wire.AppendBin(wire.AppendInt(b, 0), "")
		}
		return b
	}
	f := func(name string, b []byte, good bool) {
		t.Helper()
		s := New(Config{Actor: here})
		r := wire.NewReader(b)
		_, err := s.JoinSection(&r, []clock.Actor{there}, 1<<62)
		c := wire.NewReader(s.Context().AppendTo(nil))
		if _, unread := clock.ReadContext(&c); (err == nil) != good || unread != nil {
			t.Errorf("%s: %v; its context: %v", name, err, unread)
		}
	}
	f("the last", section(clock.MaxSeq, 0), true)
	f("the last after voids", section(clock.MaxSeq-3, 3, 0), true)
	f("void to the last", section(clock.MaxSeq-3, 4), false) // the section has no successor of the voids
	f("a record beyond", section(clock.MaxSeq, 0, 0), false)
	f("a record beyond voids", section(clock.MaxSeq-3, 4, 0), false)
	f("voids beyond", section(clock.MaxSeq-3, 5), false)
	f("nothing said beyond", section(clock.MaxSeq-3, -5), false)
	f("far beyond", section(clock.MaxSeq, math.MinInt64), false)
}

// voids returns a section of the actor with number 1: runs of n voids, and a record.
func voids(runs int, n int64) []byte {
	b := wire.AppendUint(wire.AppendUint(wire.AppendArray(nil, 4), 1), 1)
	b = wire.AppendArray(wire.AppendUint(b, 1), runs+1)
	for range runs {
		b = wire.AppendInt(b, n)
	}
	b = wire.AppendUint(wire.AppendArray(b, 5), uint64(slotRegister)<<flagBits|flagTomb)
	b = wire.AppendBin(wire.AppendUint(b, 0), "k")
	return wire.AppendBin(wire.AppendInt(b, 0), "")
}

// maxJoined is the greatest number of deltas from one section: one for each item, and the
// voids.
const maxJoined = 3*wire.MaxSectionDeltas + 1

// A section with more voids than a correct peer sends is refused. A few bytes could otherwise
// make this replica count many future writes as seen.
func TestMoreVoidsThanASectionHasAreRefused(t *testing.T) {
	f := func(runs int, n int64, good bool) {
		t.Helper()
		s := New(Config{Actor: here})
		r := wire.NewReader(voids(runs, n))
		res, err := s.JoinSection(&r, []clock.Actor{here, there}, 1<<62)
		want := uint64(0)
		if good {
			want = uint64(runs)*uint64(n) + 1
		}
		if seen := s.Context().Span(there); (err == nil) != good || seen.Base != want || good && len(res.Joined) != int(want) {
			t.Errorf("%d runs of %d: %v, seen to %d, %d deltas", runs, n, err, seen.Base, len(res.Joined))
		}
	}
	f(1, wire.MaxSectionDeltas, true)
	f(2, wire.MaxSectionDeltas/2, true)
	f(1, wire.MaxSectionDeltas+1, false)
	f(300, 4096, false)
	f(1, 1<<20, false)
}

package crdt

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// The reference model keeps everything for ever and thinks slowly. It takes from
// the store only which records a write was cut into; what they overwrite it knows
// from the full set of dots the writer had seen, which the store never has.

// mutation is one record, with everything its writer had seen: the dots it had, and
// at the record's slot also what those had overwritten, whether it had that or not.
type mutation struct {
	dot   clock.Dot
	stamp clock.Timestamp
	key   string
	kind  slotKind
	path  string
	tomb  bool
	seen  map[clock.Dot]bool
	wire  packet

	removals []*mutation // those seen at the slot
}

// naive is a replica of the model beside a real one.
type naive struct {
	store *Store
	hlc   clock.HLC
	has   map[clock.Dot]*mutation
}

func (m *mutation) later(o *mutation) bool {
	return cmp.Or(cmp.Compare(m.stamp, o.stamp), m.dot.Compare(o.dot)) > 0
}

// meets reports whether both are at one slot, or one is a clear above the other.
func (m *mutation) meets(o *mutation) bool {
	switch {
	case m.key != o.key:
		return false
	case m.kind == slotClear && strings.HasPrefix(o.path, m.path):
		return true
	case o.kind == slotClear && strings.HasPrefix(m.path, o.path):
		return true
	}
	return m.kind == o.kind && m.path == o.path
}

// dead reports whether o, being known, makes m no part of the state.
func (m *mutation) dead(o *mutation) bool {
	if o == m || o.key != m.key {
		return false
	}
	if o.kind == slotClear && m.kind != slotClear && strings.HasPrefix(m.path, o.path) {
		if m.kind.lww() {
			return o.later(m)
		}
		return o.seen[m.dot]
	}
	if o.kind != m.kind || o.path != m.path {
		return false
	}
	switch {
	case m.kind.lww():
		return o.later(m)
	case m.kind == slotCounter: // a count replaces its own actor's, and what removals it saw had removed
		if o.tomb || o.dot.Actor == m.dot.Actor {
			return o.seen[m.dot]
		}
		return slices.ContainsFunc(o.removals, func(r *mutation) bool { return r.seen[m.dot] })
	}
	return o.seen[m.dot]
}

// content is what the model says the state is: a line for each live record.
func (n *naive) content() []string {
	var lines []string
	for _, m := range n.has {
		if m.tomb || m.kind == slotClear {
			continue
		}
		alive := true
		for _, o := range n.has {
			alive = alive && !m.dead(o)
		}
		if alive {
			lines = append(lines, line(m.dot, m.key, m.kind, m.path))
		}
	}
	slices.Sort(lines)
	return lines
}

func line(d clock.Dot, key string, kind slotKind, path string) string {
	return fmt.Sprintf("%s %d %q by %v", key, kind, pointer(path), d)
}

// actual is the same of the store.
func (n *naive) actual() []string {
	var lines []string
	for _, st := range n.store.actors {
		for _, r := range st.live {
			if r != nil && r.counts() {
				lines = append(lines, line(clock.Dot{Actor: st.actor, Seq: r.seq}, r.cell.key(), r.kind, r.path()))
			}
		}
	}
	slices.Sort(lines)
	return lines
}

func modelOp(t *rapid.T) Op {
	small := func() Value {
		v, err := ValueOf(rapid.IntRange(0, 2).Draw(t, "value"))
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	object := func() Value {
		field := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "field")
		inner := rapid.SampledFrom([]any{1, 2, []any{1}, []any{2}, map[string]any{"x": 1}, map[string]any{}, nil}).Draw(t, "inner")
		v, err := ValueOf(map[string]any{field: inner})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	key := rapid.SampledFrom([]string{"k", "l"}).Draw(t, "key")
	switch rapid.IntRange(0, 9).Draw(t, "verb") {
	case 0:
		return Op{Verb: Delete, Key: key}
	case 1:
		return Op{Verb: Add, Key: key, Values: []Value{small()}}
	case 2:
		return Op{Verb: Remove, Key: key, Values: []Value{small()}}
	case 3:
		return Op{Verb: Increment, Key: key, Delta: int64(rapid.IntRange(-2, 2).Draw(t, "n"))}
	case 4:
		return Op{Verb: Bump, Key: key, Value: small()}
	case 5:
		return Op{Verb: Patch, Key: key, Value: object()}
	case 6:
		return Op{Verb: Put, Kind: Object, Key: key, Value: object()}
	case 7:
		return Op{Verb: Put, Kind: Custom, Key: key, Value: small()}
	case 8:
		return Op{Verb: Delete, Key: key, Path: []string{rapid.SampledFrom([]string{"a", "b"}).Draw(t, "path")}}
	}
	return Op{Verb: Put, Key: key, Value: small()}
}

// After every step of a random history of writes, deliveries in any order, twice
// or never, and collections of what is stable, each store holds exactly the records
// that the model says are alive.
func TestTheStoreAgreesWithTheReferenceModelAfterEveryStep(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var replicas []*naive
		for i := range 3 {
			a := clock.Actor{Birth: 1, Rand: uint64(i + 1)}
			replicas = append(replicas, &naive{store: New(Config{Actor: a}), has: map[clock.Dot]*mutation{}})
		}
		var log []*mutation
		all := map[clock.Dot]*mutation{}
		check := func(n *naive, after string) {
			if want, got := n.content(), n.actual(); !slices.Equal(want, got) {
				t.Fatalf("after %s: the model holds\n%s\nthe store\n%s", after, strings.Join(want, "\n"), strings.Join(got, "\n"))
			}
		}
		write := func(n *naive) {
			op := modelOp(t)
			seen := map[clock.Dot]bool{}
			for d := range n.has {
				seen[d] = true
			}
			now := time.UnixMilli(int64(rapid.IntRange(0, 3).Draw(t, "clock")))
			stamp := n.hlc.Next(now)
			deltas, err := n.store.Apply(stamp, 0, op)
			if err != nil {
				return // of another type
			}
			n.hlc.Now(now)
			for _, d := range deltas {
				var table ActorTable
				b := n.store.AppendSection(nil, &table, d.Actor(), d.Seq(), d.Seq(), []Delta{d})
				m := &mutation{dot: d.Dot(), stamp: stamp, key: op.Key, kind: d.r.kind, path: d.r.path(), tomb: d.r.tomb, seen: map[clock.Dot]bool{}, wire: packet{table.Actors(), b}}
				for x := range seen {
					m.seen[x] = true
					if o := n.has[x]; o.meets(m) {
						for y := range o.seen {
							m.seen[y] = m.seen[y] || all[y].dead(o)
						}
						if o.tomb {
							m.removals = append(m.removals, o)
						}
						m.removals = append(m.removals, o.removals...)
					}
				}
				seen[m.dot] = true
				n.has[m.dot], all[m.dot] = m, m
				if d.Live() { // else a later record of the same write replaced it
					log = append(log, m)
				}
			}
			check(n, fmt.Sprintf("%+v", op))
		}
		deliver := func(n *naive) {
			if len(log) == 0 {
				return
			}
			m := log[rapid.IntRange(0, len(log)-1).Draw(t, "which")]
			r := wire.NewReader(m.wire.bytes)
			res, err := n.store.JoinSection(&r, m.wire.actors, clock.Timestamp(1<<63))
			if err != nil {
				t.Fatal(err)
			}
			n.hlc.Observe(time.UnixMilli(0), res.MaxStamp)
			n.has[m.dot] = m
			check(n, fmt.Sprintf("receiving %v", m.dot))
		}
		collect := func(n *naive) {
			stable := n.store.Context().Vector()
			for _, o := range replicas {
				if !n.store.Context().Covers(o.store.Context()) {
					return
				}
				for a := range stable {
					span := o.store.Context().Span(a)
					if span == nil {
						stable[a] = 0
					} else {
						stable[a] = min(stable[a], span.Base)
					}
				}
			}
			n.store.Collect(stable, 0)
			check(n, "collecting")
		}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			n := replicas[rapid.IntRange(0, 2).Draw(t, "replica")]
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0, 1:
				write(n)
			case 5:
				collect(n)
			default:
				deliver(n)
			}
		}
	})
}

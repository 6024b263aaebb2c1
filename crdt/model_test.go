package crdt

import (
	"bytes"
	"cmp"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// The reference model keeps every record for ever and is slow and simple. From the store it
// takes only the records into which a write was divided. It computes which records these
// overwrite from the full set of dots that the writer had seen, which a store never has.

// mutation is one record with the set of dots that its writer had seen. At the record's slot
// the set also has the dots that seen records had overwritten, seen by the writer or not.
type mutation struct {
	dot   clock.Dot
	stamp clock.Timestamp
	key   string
	kind  slotKind
	path  string
	tomb  bool
	until uint64 // of a deadline
	empty bool   // whether the record stands for an empty set
	seen  map[clock.Dot]bool
	wire  packet

	removals []*mutation // those seen at the slot
}

// naive is a replica of the model, together with a real store.
type naive struct {
	store *Store
	hlc   clock.HLC
	has   map[clock.Dot]*mutation
}

// model is a cluster of naive replicas.
type model struct {
	replicas []*naive
	log      []*mutation // mutations that can be delivered
	all      map[clock.Dot]*mutation
}

func newModel() *model {
	m := &model{all: map[clock.Dot]*mutation{}}
	for i := range 3 {
		a := clock.Actor{Birth: 1, Rand: uint64(i + 1)}
		m.replicas = append(m.replicas, &naive{store: New(Config{Actor: a}), has: map[clock.Dot]*mutation{}})
	}
	return m
}

// failer is *testing.T or *rapid.T.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

func (n *naive) check(t failer, format string, args ...any) {
	t.Helper()
	if want, got := n.content(), n.actual(); !slices.Equal(want, got) {
		t.Fatalf("after %s: the model holds\n%s\nthe store\n%s", fmt.Sprintf(format, args...), strings.Join(want, "\n"), strings.Join(got, "\n"))
	}
}

// write makes op at n. An op that the store refuses does nothing. write returns the mutations
// that other replicas must get.
func (c *model) write(t failer, n *naive, op Op, now time.Time) (made []*mutation) {
	t.Helper()
	seen := map[clock.Dot]bool{}
	for d := range n.has {
		seen[d] = true
	}
	stamp := n.hlc.Next(now)
	deltas, err := n.store.Apply(stamp, 0, op)
	if err != nil {
		return nil
	}
	n.hlc.Now(now)
	for _, d := range deltas {
		var table ActorTable
		b := n.store.AppendSection(nil, &table, d.Actor(), d.Seq(), d.Seq(), []Delta{d})
		m := &mutation{dot: d.Dot(), stamp: stamp, key: op.Key, kind: d.r.kind, path: d.r.path(), tomb: d.r.tomb, until: d.r.expiry(), empty: d.r.path() != "" && isEmptySet(d.r), seen: map[clock.Dot]bool{}, wire: packet{table.Actors(), b}}
		for x := range seen {
			m.seen[x] = true
			if o := n.has[x]; o.overlaps(m) {
				for y := range o.seen {
					m.seen[y] = m.seen[y] || c.all[y].dead(o)
				}
				if o.tomb {
					m.removals = append(m.removals, o)
				}
				m.removals = append(m.removals, o.removals...)
			}
		}
		seen[m.dot] = true
		n.has[m.dot], c.all[m.dot] = m, m
		if d.Live() { // a later record of the same write may have replaced it
			made = append(made, m)
		}
	}
	c.log = append(c.log, made...)
	n.check(t, "%+v", op)
	alive := n.alive()
	for _, e := range effects(op) {
		for _, m := range alive {
			if m.key == op.Key && e.overrules(m) {
				t.Fatalf("after %+v there is still %s", op, line(m.dot, m.key, m.kind, m.path))
			}
		}
	}
	return made
}

func (c *model) deliver(t failer, n *naive, m *mutation) {
	t.Helper()
	r := wire.NewReader(m.wire.bytes)
	res, err := n.store.JoinSection(&r, m.wire.actors, clock.Timestamp(1<<63))
	if err != nil {
		t.Fatalf("join: %v", err)
	}
	n.hlc.Observe(res.MaxStamp)
	n.has[m.dot] = m
	n.check(t, "receiving %v", m.dot)
}

// collect makes n collect the dots that all replicas have seen.
func (c *model) collect(t failer, n *naive) {
	t.Helper()
	stable := n.store.Context().Vector()
	for _, o := range c.replicas {
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
	n.store.Collect(stable, 0, 0)
	n.check(t, "collecting")
}

func (m *mutation) later(o *mutation) bool {
	return cmp.Or(cmp.Compare(m.stamp, o.stamp), m.dot.Compare(o.dot)) > 0
}

// overlaps reports whether both are at one slot, or one is a clear at or above the other.
func (m *mutation) overlaps(o *mutation) bool {
	switch {
	case m.key != o.key:
		return false
	case m.kind == slotDeadline || o.kind == slotDeadline:
		return m.kind == o.kind && m.path == o.path
	case m.kind == slotClear && strings.HasPrefix(o.path, m.path):
		return true
	case o.kind == slotClear && strings.HasPrefix(m.path, o.path):
		return true
	}
	return m.kind == o.kind && m.path == o.path
}

// dead reports whether m is not live in a replica that has o.
func (m *mutation) dead(o *mutation) bool {
	if o == m || o.key != m.key {
		return false
	}
	if o.kind == slotClear && m.kind != slotClear && m.kind != slotDeadline && strings.HasPrefix(m.path, o.path) {
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
	case m.kind == slotCounter: // a count covers its own actor's count, and the dots that seen removals cover
		if o.tomb || o.dot.Actor == m.dot.Actor {
			return o.seen[m.dot]
		}
		return slices.ContainsFunc(o.removals, func(r *mutation) bool { return r.seen[m.dot] })
	}
	return o.seen[m.dot]
}

// effect is the result of a write at one path of its key: a value of kind, or nothing if
// kind is 0.
type effect struct {
	path string
	kind Kind
}

// effects returns the effects of op, a write of the model.
func effects(op Op) []effect {
	at := effect{pathOf(op.Path), 0}
	switch op.Verb {
	case Add:
		at.kind = Set
	case Increment:
		if op.Delta == 0 {
			return nil
		}
		at.kind = Counter
	case Bump:
		at.kind = Max
	case Patch:
		return effectsOf(at.path, op.Value)
	case Put:
		if at.kind = op.Kind; at.kind == 0 && at.path != "" || at.kind == Object {
			return effectsOf(at.path, op.Value)
		}
		at.kind = cmp.Or(at.kind, Register)
	case Remove, Expire:
		return nil
	}
	return []effect{at}
}

// effectsOf returns the effects of a patch with v at path.
func effectsOf(path string, v Value) []effect {
	if v.Any() == nil {
		return []effect{{path, 0}}
	}
	list := []effect{{path, kindOfLeaf(v)}}
	if fields, ok := v.Any().(map[string]any); ok {
		for name := range fields {
			list = append(list, effectsOf(path+pathOf([]string{name}), v.Field(name))...)
		}
	}
	return list
}

// overrules reports whether e removes m. The writer of e had seen m.
func (e effect) overrules(m *mutation) bool {
	place, kind := m.path, kindOf(m.kind, "")
	switch r := wire.NewReader([]byte(m.path)); {
	case m.kind == slotElement:
		for kind = Set; r.Peek() == wire.TypeStr; {
			r.Str()
		}
		place = m.path[:len(m.path)-r.Len()]
	case m.empty:
		kind = Set
	}
	switch {
	case place == e.path:
		return kind != e.kind
	case strings.HasPrefix(place, e.path):
		return e.kind != Object
	}
	return e.kind != 0 && strings.HasPrefix(e.path, place) && kind != Object // a delete needs no objects on its path
}

// content returns the state of the model as sorted lines, one for each live record.
func (n *naive) content() []string {
	var lines []string
	for _, m := range n.alive() {
		lines = append(lines, line(m.dot, m.key, m.kind, m.path)+n.end(m))
	}
	slices.Sort(lines)
	return lines
}

// alive returns the live records that are content, in no order.
func (n *naive) alive() []*mutation {
	var list []*mutation
	for _, m := range n.has {
		if m.tomb || m.kind == slotClear || m.kind == slotDeadline {
			continue
		}
		alive := true
		for _, o := range n.has {
			alive = alive && !m.dead(o)
		}
		if alive {
			list = append(list, m)
		}
	}
	return list
}

func line(d clock.Dot, key string, kind slotKind, path string) string {
	return fmt.Sprintf("%s %d %q by %v", key, kind, pointer(path), d)
}

// actual returns the state of the store in the form of content.
func (n *naive) actual() []string {
	var lines []string
	for _, st := range n.store.actors {
		for _, r := range st.live {
			if r != nil && r.isContent() {
				end := ""
				if e := n.store.expiryOf(r.cell.many(), r); e != 0 {
					end = fmt.Sprintf(" until %d", e)
				}
				lines = append(lines, line(clock.Dot{Actor: st.actor, Seq: r.seq}, r.cell.key(), r.kind, r.path())+end)
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
		inner := rapid.SampledFrom([]any{1, 2, []any{1}, []any{2}, []any{}, map[string]any{"x": 1}, map[string]any{"x": map[string]any{"y": 1}}, map[string]any{}, nil}).Draw(t, "inner")
		v, err := ValueOf(map[string]any{field: inner})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	key := rapid.SampledFrom([]string{"k", "l"}).Draw(t, "key")
	path := func() []string {
		return rapid.SampledFrom([][]string{{"a"}, {"b"}, {"a", "x"}}).Draw(t, "path")
	}
	switch rapid.IntRange(0, 15).Draw(t, "verb") {
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
		return Op{Verb: Delete, Key: key, Path: path()}
	case 9:
		return Op{Verb: Put, Key: key, Path: path(), Value: small()}
	case 10:
		return Op{Verb: Add, Key: key, Path: path(), Values: []Value{small()}}
	case 11:
		return Op{Verb: Increment, Key: key, Path: path(), Delta: 1}
	case 12:
		return Op{Verb: Put, Key: key, Path: path(), Value: object()}
	case 13, 14:
		return Op{Verb: Expire, Key: key, Expiry: rapid.SampledFrom([]uint64{0, 2, 3, 4, 20}).Draw(t, "until")}
	}
	return Op{Verb: Put, Kind: Register, Key: key, Value: small()}
}

// A random history consists of writes, deliveries in any order, repeated or missing, and
// collections of stable dots. After every step each store has exactly the records that are
// live in the model.
func TestTheStoreAgreesWithTheReferenceModelAfterEveryStep(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newModel()
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			n := c.replicas[rapid.IntRange(0, 2).Draw(t, "replica")]
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0, 1:
				c.write(t, n, modelOp(t), time.UnixMilli(int64(rapid.IntRange(0, 3).Draw(t, "clock"))))
			case 5:
				c.collect(t, n)
			default:
				if len(c.log) > 0 {
					c.deliver(t, n, c.log[rapid.IntRange(0, len(c.log)-1).Draw(t, "which")])
				}
			}
			for _, key := range []string{"k", "l"} {
				if c, ok := n.store.index.Load(key); ok {
					n.store.checkCounts(t, c)
				}
			}
		}
	})
}

// The test runs every history of four operations of one kind on one key by three replicas,
// with every choice of the earlier operations that each operation's writer has seen. All
// replicas end in the state of the model, whatever the order in which the rest arrives.
func TestAllSmallHistoriesConverge(t *testing.T) {
	object := func(fields map[string]any) Value {
		v, err := ValueOf(fields)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	alphabets := map[string][]Op{
		"register": {{Verb: Put, Key: "k", Value: num(1)}, {Verb: Delete, Key: "k"}},
		"set":      {{Verb: Add, Key: "k", Values: []Value{num(1)}}, {Verb: Remove, Key: "k", Values: []Value{num(1)}}, {Verb: Delete, Key: "k"}},
		"counter":  {{Verb: Increment, Key: "k", Delta: 1}, {Verb: Delete, Key: "k"}},
		"max":      {{Verb: Bump, Key: "k", Value: num(1)}, {Verb: Bump, Key: "k", Value: num(2)}, {Verb: Delete, Key: "k"}},
		"object":   {{Verb: Patch, Key: "k", Value: object(map[string]any{"a": 1})}, {Verb: Patch, Key: "k", Value: object(map[string]any{"a": map[string]any{"b": 2}})}, {Verb: Delete, Key: "k"}},
		"emptied":  {{Verb: Patch, Key: "k", Value: object(map[string]any{"a": 1})}, {Verb: Patch, Key: "k", Value: object(map[string]any{"a": nil})}, {Verb: Delete, Key: "k", Path: []string{"b"}}, {Verb: Patch, Key: "k", Value: object(map[string]any{"b": 1})}},
		"clash":    {{Verb: Put, Key: "k", Path: []string{"a"}, Value: num(1)}, {Verb: Add, Key: "k", Path: []string{"a"}, Values: []Value{num(1)}}},
		"custom":   {{Verb: Put, Kind: Custom, Key: "k", Value: num(1)}, {Verb: Delete, Key: "k"}},
		"ending":   {{Verb: Put, Key: "k", Value: num(1)}, {Verb: Expire, Key: "k", Expiry: 10}, {Verb: Expire, Key: "k", Expiry: 20}, {Verb: Expire, Key: "k"}},
		"retyped":  {{Verb: Put, Kind: Register, Key: "k", Value: num(1)}, {Verb: Add, Key: "k", Values: []Value{num(1)}}, {Verb: Delete, Key: "k"}},
	}
	length := 4
	if testing.Short() {
		length = 3
	}
	percent := debug.SetGCPercent(800) // each history leaves only a little garbage
	t.Cleanup(func() { debug.SetGCPercent(percent) })
	for name, ops := range alphabets {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			histories := 0
			var at, what [4]int // for each operation, the index of its replica and its index in ops
			var each func(i, used int)
			each = func(i, used int) {
				if i == length {
					histories += runAllVisibilities(t, at[:length], what[:length], ops)
					return
				}
				for at[i] = range min(used+1, 3) { // replicas without an operation are interchangeable
					for what[i] = range ops {
						each(i+1, max(used, at[i]+1))
					}
				}
			}
			each(0, 0)
			t.Logf("%d histories", histories)
		})
	}
}

// runAllVisibilities runs operation what[i] of ops at replica at[i], for every choice of the
// other replicas' earlier operations that at[i] has seen. It returns the number of choices.
func runAllVisibilities(t *testing.T, at, what []int, ops []Op) int {
	var pairs [][2]int // pairs {i, j} of which the writer of operation i may have seen j
	for i := range at {
		for j := range i {
			if at[i] != at[j] {
				pairs = append(pairs, [2]int{i, j})
			}
		}
	}
	for sight := range 1 << len(pairs) {
		c := newModel()
		made := make([][]*mutation, len(at))
		for i := range at {
			for bit, p := range pairs {
				if p[0] == i && sight>>bit&1 == 1 {
					for _, m := range made[p[1]] {
						c.deliver(t, c.replicas[at[i]], m)
					}
				}
			}
			made[i] = c.write(t, c.replicas[at[i]], ops[what[i]], time.UnixMilli(0))
		}
		for k, n := range c.replicas {
			for i := range c.log {
				m := c.log[(i+k)%len(c.log)]
				if k == 1 {
					m = c.log[len(c.log)-1-i]
				}
				if n.has[m.dot] == nil {
					c.deliver(t, n, m)
				}
			}
			if !bytes.Equal(n.store.AppendState(nil), c.replicas[0].store.AppendState(nil)) {
				t.Fatalf("replicas 0 and %d differ after operations %v at %v, sight %b", k, what, at, sight)
			}
		}
	}
	return 1 << len(pairs)
}

package crdt

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// cluster is a model of a cluster with exact acknowledgements. A dot is stable if every
// replica has seen it. A replica collects only when it has seen every dot that the others
// had seen when they acknowledged.
type cluster struct {
	rs   []*replica
	next [][]int // next[to][from] is the number of from's deltas that to has, in order
}

func newCluster(n int) *cluster {
	c := &cluster{}
	for i := range n {
		c.rs = append(c.rs, newReplica(uint64(i+1)))
		c.next = append(c.next, make([]int, n))
	}
	return c
}

func (c *cluster) deliver(t testing.TB, from, to int) {
	if i := c.next[to][from]; from != to && i < len(c.rs[from].log) {
		c.rs[to].receive(t, c.rs[from].log[i])
		c.next[to][from]++
	}
}

func (c *cluster) deliverAll(t testing.TB, rng *rand.Rand) {
	for _, from := range rng.Perm(len(c.rs)) {
		for to := range c.rs {
			for c.next[to][from] < len(c.rs[from].log) && to != from {
				c.deliver(t, from, to)
			}
		}
	}
}

// stable returns the vector up to which replica at may collect, nil if it has not seen every
// dot that another replica has acknowledged.
func (c *cluster) stable(at int) clock.Vector {
	v := c.rs[at].Context().Vector()
	for _, r := range c.rs {
		if !c.rs[at].Context().Covers(r.Context()) {
			return nil
		}
		other := r.Context().Vector()
		for a := range v {
			v[a] = min(v[a], other[a])
		}
	}
	return v
}

// Each replica collects stable dots at its own times. That does not change what readers see,
// and in the end no removal is left.
func TestCollectingWhatIsStableChangesNothing(t *testing.T) {
	for seed := range uint64(1500) {
		rng := rand.New(rand.NewPCG(seed, 2))
		c, plain := newCluster(3), newCluster(3)
		for range 60 {
			switch at, to := rng.IntN(3), rng.IntN(3); rng.IntN(5) {
			case 0, 1:
				op := randomOp(rng)
				one, two := c.rs[at].apply(t, op), plain.rs[at].apply(t, op)
				if (one == nil) != (two == nil) {
					t.Fatalf("seed %d: %v with collection, %v without", seed, one, two)
				}
			case 2, 3:
				c.deliver(t, at, to)
				plain.deliver(t, at, to)
			case 4:
				c.rs[at].Collect(c.stable(at), 1000, 1000)
			}
			for i := range c.rs {
				for _, k := range []string{"k0", "k1"} {
					x, okX := c.rs[i].Render(k, 1000)
					y, okY := plain.rs[i].Render(k, 1000)
					if okX != okY || okX && (x.Value() != y.Value() || x.Version() != y.Version()) {
						t.Fatalf("seed %d: %s reads differently with collection", seed, k)
					}
				}
			}
		}
		c.deliverAll(t, rng)
		for i, r := range c.rs {
			r.Collect(c.stable(i), 1000, 1000)
			if st := r.Stats(); st.Removals != 0 {
				t.Fatalf("seed %d: %d removals left when all is stable", seed, st.Removals)
			}
			if !bytes.Equal(r.AppendState(nil), c.rs[0].AppendState(nil)) {
				t.Fatalf("seed %d: replicas differ", seed)
			}
			checkCounts(t, r.Store)
		}
	}
}

// checkCounts compares every running count with a recount.
func checkCounts(t testing.TB, s *Store) {
	t.Helper()
	var sums [256]uint64
	var sum uint64
	count, size, memory, removes, removed, keys := 0, 0, 0, 0, 0, 0
	places := make(map[*many]*many) // the recounted stocks
	for _, st := range s.active {
		last := uint64(0)
		for i, r := range st.live {
			if r == nil {
				continue
			}
			if int(r.pos) != i || r.seq <= last {
				t.Fatalf("record %d of %v out of place", r.seq, st.actor)
			}
			last = r.seq
			count++
			size += r.size()
			memory += r.memory()
			if r.isRemoval() {
				removes++
				removed += r.memory()
			}
			if m := r.cell.many(); m != nil {
				if places[m] == nil {
					places[m] = new(many)
				}
				places[m].account(r, true)
			}
			if s.checksummed(r) {
				sum += s.share(r)
				sums[shardOf(r.cell.key())] += s.share(r)
			}
		}
	}
	s.index.cells.each(func(c *cell) bool {
		if c.visible() {
			keys++
		}
		memory += c.memory()
		m := c.many()
		if m != nil {
			memory += manyMemory
		}
		if m == nil && c.view.Load() == nil {
			t.Fatalf("key %q is in the index with nothing", c.key())
		}
		if m != nil && (!maps.Equal(m.stocks, places[m].stocks) || m.root != places[m].root || m.set != places[m].set) {
			t.Fatalf("key %q has %v, %v and %v at its places, want %v, %v and %v", c.key(), m.root, m.set, m.stocks, places[m].root, places[m].set, places[m].stocks)
		}
		return true
	})
	for _, c := range s.conflicts {
		memory += c.bytes()
	}
	if s.Memory() != memory || s.removalBytes != removed {
		t.Fatalf("books: memory %d, want %d; of removals %d, want %d", s.Memory(), memory, s.removalBytes, removed)
	}
	if s.sum != sum || s.sums != sums || s.liveCount != count || s.wireBytes != size || s.removals != removes || s.Len() != keys {
		t.Fatalf("books: count %d want %d, bytes %d want %d, removes %d want %d, keys %d want %d, sums equal: %v",
			s.liveCount, count, s.wireBytes, size, s.removals, removes, s.Len(), keys, s.sum == sum && s.sums == sums)
	}
}

func TestTheOldestRemovalsGoWhenThereAreTooMany(t *testing.T) {
	s := New(Config{Actor: clock.Actor{Birth: 1, Rand: 1}, MaxRemovals: 16})
	v, _ := ValueOf(1)
	for i := range 100 {
		key := fmt.Sprint("k", i)
		if _, err := s.Apply(clock.Timestamp(2*i+1), 0, Op{Verb: Put, Key: key, Value: v}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Apply(clock.Timestamp(2*i+2), 0, Op{Verb: Delete, Key: key}); err != nil {
			t.Fatal(err)
		}
		if st := s.Stats(); st.Removals > 16 {
			t.Fatalf("%d removals kept", st.Removals)
		}
	}
	if st := s.Stats(); st.Truncated == 0 || int(st.Truncated)+st.Removals != 100 {
		t.Fatalf("%+v", st)
	}
	checkCounts(t, s)
}

func TestWhatExpiresIsHiddenThenReportedOnceThenForgotten(t *testing.T) {
	a := clock.Actor{Birth: 1, Rand: 1}
	s := New(Config{Actor: a})
	v, _ := ValueOf(1)
	if _, err := s.Apply(1, 0, Op{Verb: Put, Key: "a", Value: v, Expiry: 100}, Op{Verb: Add, Key: "b", Values: []Value{v}, Expiry: 200}); err != nil {
		t.Fatal(err)
	}
	s.Changes()
	if s.Len() != 2 || s.Sum() != 0 {
		t.Fatalf("%d keys, sum %x", s.Len(), s.Sum())
	}
	if _, ok := s.Render("a", 99); !ok {
		t.Fatal("hidden too early")
	}
	if _, ok := s.Render("a", 100); ok {
		t.Fatal("shown when expired")
	}
	s.Expire(150)
	s.Expire(150)
	if c := s.Changes(); len(c) != 1 || c[0].Key != "a" || c[0].Cause != CauseExpired || c[0].Old != v {
		t.Fatalf("changes %+v", c)
	}
	if s.Len() != 1 || s.Stats().Live != 2 {
		t.Fatalf("%d keys, %d live", s.Len(), s.Stats().Live)
	}
	checkCounts(t, s)
	if s.Collect(clock.Vector{a: 2}, 250, 250); s.Stats().Live != 0 || s.Len() != 0 {
		t.Fatalf("%d live, %d keys after collection", s.Stats().Live, s.Len())
	}
	if c := s.Changes(); len(c) != 1 || c[0].Key != "b" || c[0].Cause != CauseExpired {
		t.Fatalf("changes %+v", c)
	}
	checkCounts(t, s)
	// A key that has expired can take another kind.
	if _, err := s.Apply(2, 250, Op{Verb: Put, Key: "c", Value: v, Expiry: 300}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(3, 300, Op{Verb: Increment, Key: "c", Delta: 3}); err != nil {
		t.Fatal(err)
	}
	if e, ok := s.Render("c", 300); !ok || e.Kind() != Counter || e.Value().String() != "3" {
		t.Fatalf("%v %v", e.Value(), ok)
	}
}

// A record whose expiry was reported stays expired even if the clock is set back. It is
// forgotten once it is stable.
func TestWhatExpiredDoesNotComeBackWithTheClock(t *testing.T) {
	a := clock.Actor{Birth: 1, Rand: 1}
	s := New(Config{Actor: a})
	v, w := num(1), num(2)
	ops := []Op{{Verb: Put, Key: "plain", Value: v, Expiry: 100}, {Verb: Add, Key: "set", Values: []Value{v}, Expiry: 100}, {Verb: Add, Key: "half", Values: []Value{v}, Expiry: 100}, {Verb: Add, Key: "half", Values: []Value{w}}}
	if _, err := s.Apply(1, 0, ops...); err != nil {
		t.Fatal(err)
	}
	s.Expire(100)
	if n := len(s.Changes()); n < 3 {
		t.Fatalf("%d changes", n)
	}
	for _, key := range []string{"plain", "set"} {
		if _, ok := s.Render(key, 50); ok {
			t.Errorf("%s is rendered again", key)
		}
		if _, ok, fresh := s.Load(key); ok || !fresh {
			t.Errorf("%s is read again: %t, %t", key, ok, fresh)
		}
	}
	if e, ok := s.Render("half", 50); !ok || e.Value().String() != "[2]" || e.Expiry() != 0 {
		t.Errorf("half of it left %v until %d", e.Value(), e.Expiry())
	}
	s.Ascend(KeyRange{}, func(key string, e Entry, _ bool) bool {
		if key != "half" {
			t.Errorf("%s is listed again", key)
		}
		return true
	})
	if _, err := s.Apply(2, 50, Op{Verb: Put, Key: "plain", Value: w, If: new(Version)}); err != nil {
		t.Error(err)
	}
	if c := s.Collect(clock.Vector{a: 5}, 99, 50); c.Expired != 0 {
		t.Errorf("%+v before every clock has shown the end", c)
	}
	if c := s.Collect(clock.Vector{a: 5}, 100, 50); c.Expired != 2 || s.Stats().Live != 2 || s.Len() != 2 {
		t.Errorf("%+v, %d live records of %d keys", c, s.Stats().Live, s.Len())
	}
	checkCounts(t, s)
}

package crdt

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// pageOf returns a page of a large key, and what came before it. ok is false if the key has no pages of
// its own at path.
func (r *replica) pageOf(key string, now uint64, path []string, after Value, limit int) (Page, bool) {
	place, ok := r.Probe(key, now).Place(path, func(yield func(string) bool) {
		r.Probe(key, now).Slots()(yield)
	})
	if !ok {
		return Page{}, false
	}
	x := place.After(after, limit)
	r.Probe(key, now).Fill(x)
	return x.Page(), true
}

// pages returns the pages of a large key one after another, as one.
func (r *replica) pages(t *testing.T, key string, now uint64, path []string, limit func() int) (all Page, ok bool) {
	t.Helper()
	for after := (Value{}); ; {
		n := limit()
		page, ok := r.pageOf(key, now, path, after, n)
		if !ok {
			return Page{}, false
		}
		if len(page.Values) > n || page.Kind == Object && len(page.Names) != len(page.Values) || page.Kind == Set && page.Names != nil {
			t.Fatalf("a page of %d has %d names and %d values", n, len(page.Names), len(page.Values))
		}
		all = Page{Kind: page.Kind, Names: append(all.Names, page.Names...), Values: append(all.Values, page.Values...)}
		if after = page.Next; after.IsZero() {
			return all, true
		}
	}
}

// The pages of a large key, and of each object and set in it, are together what a reader of the whole
// has, in the same order, whatever the replicas write concurrently and whenever somebody reads pages.
func TestThePagesAreTheWhole(t *testing.T) {
	ballast, _ := ValueOf(strings.Repeat("x", WholeBytes))
	compared, kinds := 0, map[Kind]int{}
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 8))
		rs := []*replica{newReplica(1), newReplica(2)}
		now := uint64(1000)
		for step := range 60 {
			r := rs[rng.IntN(2)]
			op := randomOp(rng)
			if rng.IntN(6) == 0 && op.Verb != Delete && op.Verb != Remove {
				op.Expiry = now + uint64(rng.IntN(20))
			}
			_ = r.applyAt(t, now, op)
			if step < 10 {
				_ = r.applyAt(t, now, Op{Verb: Put, Key: "k0", Path: []string{"z"}, Value: ballast})
				_ = r.applyAt(t, now, Op{Verb: Add, Key: "k1", Values: []Value{ballast}})
			}
			other := rs[rng.IntN(2)]
			for range rng.IntN(4) {
				if n := len(r.log); n > 0 && other != r {
					other.receive(t, r.log[rng.IntN(n)])
				}
			}
			if now += uint64(rng.IntN(3)); rng.IntN(3) == 0 {
				r.Expire(now)
			}
			if rng.IntN(20) == 0 {
				r.DropOutlines(now + outlineIdle)
			}
			for _, key := range []string{"k0", "k1", "k2"} {
				e, _ := r.Render(key, now)
				paths := [][]string{nil}
				if e.Kind() == Object {
					for _, name := range PageOf(e.Value(), Value{}, 1000).Names {
						paths = append(paths, []string{name})
					}
				}
				for _, path := range paths {
					whole := e.Value()
					for _, name := range path {
						whole = whole.Field(name)
					}
					want := PageOf(whole, Value{}, 1000)
					got, ok := r.pages(t, key, now, path, func() int { return 1 + rng.IntN(3) })
					if !ok {
						continue
					}
					compared++
					kinds[got.Kind]++
					if !slices.Equal(got.Names, want.Names) || !slices.Equal(got.Values, want.Values) {
						t.Fatalf("seed %d, step %d, %s at %q: the pages have\n%.300v\n%.300v, want\n%.300v\n%.300v", seed, step, key, path, got.Names, got.Values, want.Names, want.Values)
					}
				}
			}
		}
		for _, r := range rs {
			if r.DropOutlines(now + outlineIdle); r.outlineBytes != 0 || len(r.outlined) != 0 {
				t.Fatalf("seed %d: %d bytes are left of dropped outlines", seed, r.outlineBytes)
			}
		}
	}
	t.Logf("%d listings were compared: %v", compared, kinds)
	if kinds[Set] < 100 || kinds[Object] < 100 {
		t.Errorf("only %v were compared", kinds)
	}
}

// A page of ten allocates the same with 1,000 and with 30,000 entries, and so does a write beside
// somebody who reads pages.
func TestAPageCostsWhatIsOnIt(t *testing.T) {
	var pages, writes []float64
	for _, n := range []int{1000, 30_000} {
		b := newBig(t, n)
		r := &replica{Store: b.Store}
		i := 0
		pages = append(pages, testing.AllocsPerRun(50, func() {
			i++
			b.apply(t, Op{Verb: Add, Key: "set", Values: []Value{num(n + i)}}, Op{Verb: Remove, Key: "set", Values: []Value{num(i)}})
			set, _ := r.pageOf("set", 1000, nil, num(500), 10)
			name, _ := ValueOf("f500")
			fields, _ := r.pageOf("object", 1000, nil, name, 10)
			if len(set.Values) != 10 || set.Values[0] != num(501) || len(fields.Names) != 10 || fields.Names[0] <= "f500" {
				t.Fatalf("the pages have %v and %v", set, fields)
			}
		}))
		writes = append(writes, testing.AllocsPerRun(50, func() {
			i++
			b.apply(t, Op{Verb: Add, Key: "set", Values: []Value{num(n + i)}}, Op{Verb: Patch, Key: "object", Value: object(fmt.Sprint(i), i)})
		}))
	}
	if pages[1] > pages[0]*1.2 || writes[1] > writes[0]*1.2 {
		t.Errorf("%v allocations of pages and %v of writes with 1,000 entries and with 30,000", pages, writes)
	}
}

// A page ends with the entry that reaches PageBytes, and the following page goes on behind it.
func TestAPageIsBoundInBytes(t *testing.T) {
	r := newReplica(1)
	for i := range 12 {
		v, err := ValueOf(fmt.Sprint(i%10, strings.Repeat("x", PageBytes/5)))
		must(t, err)
		must(t, r.apply(t, Op{Verb: Add, Key: "set", Values: []Value{v}}, Op{Verb: Patch, Key: "object", Value: object(fmt.Sprint("f", i), v)}))
	}
	for _, key := range []string{"set", "object"} {
		var sizes []int
		for after := (Value{}); ; {
			page, ok := r.pageOf(key, 1000, nil, after, 100)
			if !ok {
				t.Fatalf("%s has no pages", key)
			}
			sizes = append(sizes, len(page.Values))
			if after = page.Next; after.IsZero() {
				break
			}
		}
		if want := map[string][]int{"set": {5, 5}, "object": {5, 5, 2}}[key]; !reflect.DeepEqual(sizes, want) {
			t.Errorf("the pages of the %s have %v entries, want %v", key, sizes, want)
		}
	}
}

// The order of a key's slots counts as memory of the store until nobody has read a page for a minute.
func TestAnOrderNobodyReadsIsDropped(t *testing.T) {
	b := newBig(t, 1000)
	r, before := &replica{Store: b.Store}, b.Memory()
	if _, ok := r.pageOf("set", 1000, nil, Value{}, 10); !ok {
		t.Fatal("the set has no pages")
	}
	b.apply(t, Op{Verb: Remove, Key: "set", Values: []Value{num(0)}})
	b.apply(t, Op{Verb: Add, Key: "set", Values: []Value{num(0)}})
	if n := b.Memory() - before; n != 1000*outlineMemory {
		t.Errorf("the order of 1,000 slots takes %d bytes", n)
	}
	b.DropOutlines(1000 + outlineIdle - 1)
	if b.Memory() == before {
		t.Error("the order was dropped too early")
	}
	if b.DropOutlines(1000 + outlineIdle); b.Memory() != before {
		t.Errorf("%d bytes are left of the order", b.Memory()-before)
	}
}

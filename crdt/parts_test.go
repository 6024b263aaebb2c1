package crdt

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// follower keeps a copy of the values of a replica's keys from notifications alone.
type follower struct {
	r             *replica
	copies        map[string]any
	parted, asked int // notifications with parts, and those after which the key was read
}

// follow applies the notifications since the last call to the copies.
func (f *follower) follow(t *testing.T, now uint64) {
	t.Helper()
	changes := f.r.Changes()
	f.r.Describe(changes, now)
	for _, c := range Notifications(changes, func(key string) (Value, Kind, bool) {
		e, ok := f.r.Render(key, now)
		return e.Value(), e.Kind(), ok
	}) {
		switch {
		case c.Cause == CauseConflict:
		case c.large == nil || c.Cause == CauseDelete || c.Cause == CauseExpired && !c.large.there:
			f.copies[c.Key] = plainValue(c.New)
		case len(c.large.parts) > 0:
			f.parted++
			for _, p := range c.large.parts {
				f.copies[c.Key] = withPart(f.copies[c.Key], p)
			}
		default:
			f.asked++
			e, _ := f.r.Render(c.Key, now)
			f.copies[c.Key] = plainValue(e.Value())
		}
	}
}

// plainValue returns v as maps and sorted lists of texts.
func plainValue(v Value) any {
	var x any
	if v.IsZero() || v.Decode(&x) != nil {
		return nil
	}
	return plainOf(x)
}

func plainOf(x any) any {
	switch x := x.(type) {
	case map[string]any:
		m := map[string]any{}
		for k, v := range x {
			m[k] = plainOf(v)
		}
		return m
	case []any:
		list := []string{}
		for _, v := range x {
			list = append(list, fmt.Sprint(v))
		}
		slices.Sort(list)
		return list
	}
	return fmt.Sprint(x)
}

// withPart returns whole after the change of one part.
func withPart(whole any, p Part) any {
	if len(p.Path) > 0 {
		m, _ := whole.(map[string]any)
		m = maps.Clone(m)
		if m == nil {
			m = map[string]any{}
		}
		if p.Verb == Delete && len(p.Path) == 1 {
			delete(m, p.Path[0])
		} else {
			m[p.Path[0]] = withPart(m[p.Path[0]], Part{p.Verb, p.Path[1:], p.Value})
		}
		return m
	}
	switch p.Verb {
	case Put:
		return plainValue(p.Value)
	case Delete:
		if _, set := whole.([]string); set {
			return []string{}
		}
		return map[string]any{}
	}
	list, _ := whole.([]string)
	element := fmt.Sprint(plainValue(p.Value))
	list = slices.DeleteFunc(slices.Clone(list), func(e string) bool { return e == element })
	if p.Verb == Add {
		list = append(list, element)
		slices.Sort(list)
	}
	return append([]string{}, list...)
}

// A reader that follows the notifications of large keys has their values, whatever the replicas write
// concurrently and in whichever order the writes arrive.
func TestAReaderThatFollowsThePartsHasTheWhole(t *testing.T) {
	ballast, _ := ValueOf(strings.Repeat("x", WholeBytes))
	parted, asked, snapshots := 0, 0, 0
	for seed := range uint64(80) {
		rng := rand.New(rand.NewPCG(seed, 7))
		rs := []*replica{newReplica(1), newReplica(2), newReplica(3)}
		var fs []*follower
		for _, r := range rs {
			fs = append(fs, &follower{r: r, copies: map[string]any{}})
		}
		now := uint64(1000)
		for range 40 {
			from := rng.IntN(3)
			if now += uint64(rng.IntN(3)); rng.IntN(5) > 1 {
				op := randomOp(rng)
				if rng.IntN(6) == 0 && op.Verb != Delete && op.Verb != Remove {
					op.Expiry = now + uint64(rng.IntN(20))
				}
				_ = rs[from].applyAt(t, now, op)
				if rng.IntN(2) == 0 {
					_ = rs[from].applyAt(t, now, Op{Verb: Put, Key: "k0", Path: []string{"z"}, Value: ballast})
					_ = rs[from].applyAt(t, now, Op{Verb: Add, Key: "k1", Values: []Value{ballast}})
				}
			}
			if to := rng.IntN(3); to != from {
				for range rng.IntN(3) {
					if n := len(rs[from].log); n > 0 {
						rs[to].receive(t, rs[from].log[rng.IntN(n)])
					}
				}
			}
			if rng.IntN(3) == 0 {
				continue // several changes at once
			}
			for i, f := range fs {
				f.r.Expire(now)
				f.follow(t, now)
				for key, have := range f.copies {
					x := f.r.Probe(key, now).Snapshot()
					e, _ := f.r.Render(key, now)
					if x != nil {
						if y, _ := x.Render(); y.Value() != e.Value() || y.Version() != e.Version() || y.Kind() != e.Kind() || y.Expiry() != e.Expiry() {
							t.Fatalf("seed %d: the snapshot of %s is %.100v, want %.100v", seed, key, y.Value(), e.Value())
						}
						snapshots++
					}
					if want := plainValue(e.Value()); !reflect.DeepEqual(have, want) {
						t.Fatalf("seed %d: a reader of replica %d takes %s for %.200v, want %.200v", seed, i, key, have, want)
					}
				}
			}
		}
		for _, f := range fs {
			parted, asked = parted+f.parted, asked+f.asked
		}
	}
	t.Logf("%d notifications with parts, %d after which the key was read; %d snapshots", parted, asked, snapshots)
	if snapshots < 100 {
		t.Errorf("only %d snapshots were compared", snapshots)
	}
	if parted < asked/2 {
		t.Errorf("%d notifications with parts, %d after which the key was read", parted, asked)
	}
}

// A notification of a large key asks for no rendering, and allocates the same with 1,000 and with
// 30,000 elements, at the writer and at a receiver.
func TestANotificationCostsTheSameWhateverTheSize(t *testing.T) {
	var sizes []float64
	for _, n := range []int{1000, 30_000} {
		a, b := newReplica(1), newReplica(2)
		for i := range n {
			must(t, a.apply(t, Op{Verb: Add, Key: "set", Values: []Value{num(i)}}, Op{Verb: Patch, Key: "object", Value: object(fmt.Sprint(i), i)}))
		}
		for _, p := range a.log {
			b.receive(t, p)
		}
		a.Changes()
		b.Changes()
		notify := func(r *replica) {
			changes := r.Changes()
			r.Describe(changes, 1000)
			for _, c := range Notifications(changes, func(key string) (Value, Kind, bool) {
				t.Fatalf("%s was rendered", key)
				return Value{}, 0, false
			}) {
				if parts, partial := c.Parts(); !partial || len(parts) != 1 {
					t.Fatalf("%s changed by %v, %v", c.Key, parts, partial)
				}
			}
		}
		i := n
		sizes = append(sizes, testing.AllocsPerRun(100, func() {
			must(t, a.apply(t, Op{Verb: Add, Key: "set", Values: []Value{num(i)}}, Op{Verb: Remove, Key: "set", Values: []Value{num(i - n)}}))
			i++
			must(t, a.apply(t, Op{Verb: Patch, Key: "object", Value: object("1", i)}))
			for _, p := range a.log[len(a.log)-3:] {
				b.receive(t, p)
			}
			a.Changes()
			b.Changes()
			must(t, a.apply(t, Op{Verb: Remove, Key: "set", Values: []Value{num(i - n + 500)}}))
			notify(a)
			b.receive(t, a.log[len(a.log)-1])
			notify(b)
			must(t, a.apply(t, Op{Verb: Put, Key: "object", Path: []string{"2"}, Value: num(i)}))
			notify(a)
			b.receive(t, a.log[len(a.log)-1])
			notify(b)
		}))
	}
	if sizes[1] > sizes[0]*1.2 {
		t.Errorf("%v allocations with 1,000 elements, %v with 30,000", sizes[0], sizes[1])
	}
}

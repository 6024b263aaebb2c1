package crdt

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// end says when the content m ends, if a deadline of its key is later than m: at the longest that
// no other deadline has overwritten. What had ended when another chain began has its own end.
func (n *naive) end(m *mutation) string {
	type group struct{ begun, until uint64 }
	all := map[string]*group{}
	about := map[string]bool{} // whether a record of the chain is later than m
	for _, d := range n.has {
		overwritten := slices.ContainsFunc(slices.Collect(maps.Values(n.has)), func(o *mutation) bool { return d.dead(o) })
		if d.kind != slotDeadline || d.key != m.key || d.tomb || overwritten {
			continue
		}
		begun, _ := chainBegin(d.path)
		g := all[d.path]
		if g == nil {
			g = &group{begun: begun.Millis()}
			all[d.path] = g
		}
		g.until = max(g.until, cmp.Or(d.until, never))
		about[d.path] = about[d.path] || d.later(m)
	}
	until, governed := uint64(0), false
	for _, path := range slices.Sorted(maps.Keys(all)) {
		g := all[path]
		if !about[path] {
			continue
		}
		governed = true
		ended := false
		for other, o := range all {
			ended = ended || other > path && g.until <= o.begun
		}
		if ended {
			return fmt.Sprintf(" until %d", g.until)
		}
		until = max(until, g.until)
	}
	if !governed || until == never {
		return ""
	}
	return fmt.Sprintf(" until %d", until)
}

// exchange delivers to each of two replicas what the other has made.
func exchange(t *testing.T, a, b *replica) {
	t.Helper()
	mergeAll(t, a.Store, b.Store)
	mergeAll(t, b.Store, a.Store)
	a.hlc.Observe(clock.Timestamp(1) << 20 << 16)
	b.hlc.Observe(clock.Timestamp(1) << 20 << 16)
	if a.Sum() != b.Sum() || string(a.AppendState(nil)) != string(b.AppendState(nil)) {
		t.Fatal("the replicas differ")
	}
	checkCounts(t, a.Store)
	checkCounts(t, b.Store)
}

// shows fails the test unless key has this value on r at now, "" for none, and ends at until.
func (r *replica) shows(t *testing.T, now uint64, key, want string, until uint64) {
	t.Helper()
	e, ok := r.Render(key, now)
	got := ""
	if ok {
		got = e.Value().String()
	}
	if got != want || e.Expiry() != until {
		t.Fatalf("at %d %s is %q until %d, want %q until %d", now, key, got, e.Expiry(), want, until)
	}
}

// hour is a time of the tests, in Unix milliseconds; exchange moves the stamps of later writes up to it.
const hour = 1 << 20

func TestADeadlineLeavesTheValueAlone(t *testing.T) {
	a, b := newReplica(1), newReplica(2)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(a.apply(t, Op{Verb: Add, Key: "set", Values: []Value{num(1), num(2)}}, Op{Verb: Put, Key: "plain", Value: num(1)}))
	exchange(t, a, b)
	must(a.applyAt(t, hour, Op{Verb: Expire, Key: "set", Expiry: hour + 50}, Op{Verb: Expire, Key: "plain", Expiry: hour + 50}))
	must(b.applyAt(t, hour+1, Op{Verb: Remove, Key: "set", Values: []Value{num(1)}}, Op{Verb: Put, Key: "plain", Value: num(2), Expiry: hour + 70}))
	exchange(t, a, b)
	for _, r := range []*replica{a, b} {
		r.shows(t, hour+2, "set", "[2]", hour+50)
		r.shows(t, hour+2, "plain", "2", hour+70)
		r.shows(t, hour+50, "set", "", 0)
	}
}

func TestTheLongestDeadlineWins(t *testing.T) {
	for _, c := range []struct{ one, other, until uint64 }{{hour + 50, hour + 90, hour + 90}, {hour + 90, hour + 50, hour + 90}, {hour + 50, 0, 0}, {0, hour + 50, 0}} {
		a, b := newReplica(1), newReplica(2)
		if err := a.apply(t, Op{Verb: Put, Key: "k", Value: num(1)}); err != nil {
			t.Fatal(err)
		}
		exchange(t, a, b)
		for r, until := range map[*replica]uint64{a: c.one, b: c.other} {
			if err := r.applyAt(t, hour, Op{Verb: Expire, Key: "k", Expiry: until}); err != nil {
				t.Fatal(err)
			}
		}
		exchange(t, a, b)
		a.shows(t, hour+1, "k", "1", c.until)
		if err := b.applyAt(t, hour+2, Op{Verb: Expire, Key: "k", Expiry: hour + 20}); err != nil { // a later one that saw both
			t.Fatal(err)
		}
		exchange(t, a, b)
		a.shows(t, hour+3, "k", "1", hour+20)
	}
}

// What has ended is not brought back by a deadline that is set later, also on a replica that still has
// it, and is there again after a longer deadline that was set before the end.
func TestWhatHasEndedStaysEnded(t *testing.T) {
	a, b := newReplica(1), newReplica(2)
	do := func(r *replica, now uint64, op Op) {
		t.Helper()
		if err := r.applyAt(t, now, op); err != nil {
			t.Fatal(err)
		}
	}
	do(a, 1000, Op{Verb: Add, Key: "k", Values: []Value{num(1)}})
	exchange(t, a, b)
	do(a, hour, Op{Verb: Expire, Key: "k", Expiry: hour + 50})
	do(b, hour, Op{Verb: Expire, Key: "k", Expiry: hour + 90})
	a.Expire(hour + 50)
	if c := a.Changes(); len(c) == 0 || c[len(c)-1].Cause != CauseExpired || a.Len() != 0 {
		t.Fatalf("at the deadline: %+v", c)
	}
	exchange(t, a, b)
	a.shows(t, hour+60, "k", "[1]", hour+90)
	if c := a.Changes(); len(c) == 0 || c[len(c)-1].Cause != CausePut || a.Len() != 1 {
		t.Fatalf("it is back: %+v", c)
	}
	for _, r := range []*replica{a, b} {
		r.Expire(hour + 90)
	}
	v := a.Context().Vector()
	if c := a.Collect(v, hour+89, hour+100); c.Expired != 0 {
		t.Fatalf("forgotten before every clock has shown the deadline: %+v", c)
	}
	if c := a.Collect(v, hour+90, hour+100); c.Expired != 1 || a.Stats().Live != 0 {
		t.Fatalf("not forgotten: %+v, %d live", c, a.Stats().Live)
	}
	a.hlc.Observe(clock.Timestamp(hour+110) << 16)
	do(a, hour+120, Op{Verb: Add, Key: "k", Values: []Value{num(2)}})
	do(a, hour+121, Op{Verb: Expire, Key: "k", Expiry: hour + 300})
	for _, p := range a.log[len(a.log)-2:] {
		b.receive(t, p)
	}
	a.shows(t, hour+130, "k", "[2]", hour+300)
	b.shows(t, hour+130, "k", "[2]", hour+300)
	if b.Collect(b.Context().Vector(), hour+130, hour+130); b.Stats().Live != 2 {
		t.Fatalf("%d live", b.Stats().Live)
	}
	checkCounts(t, b.Store)
	if err := a.applyAt(t, hour+130, Op{Verb: Expire, Key: "k", Expiry: hour + 130}); err == nil {
		t.Error("a deadline in the past is taken")
	}
	if err := a.applyAt(t, hour+130, Op{Verb: Expire, Key: "none", Expiry: hour + 200}); err != nil || len(a.deltas) != 0 {
		t.Error("an absent key gets a deadline", err)
	}
}

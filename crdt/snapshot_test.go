package crdt

import (
	"strings"
	"testing"
)

// A large key is rendered from a snapshot as it is under the lock. A snapshot that a write has overtaken
// gives the state before the write, and is not published.
func TestASnapshotHasTheStateOfOneMoment(t *testing.T) {
	a, b := newReplica(1), newReplica(2)
	large, _ := ValueOf(strings.Repeat("x", WholeBytes))
	must(t, a.apply(t, Op{Verb: Patch, Key: "k", Value: object("text", large, "n", 1, "gone", 1, "set", []any{1, 2})}))
	must(t, b.apply(t, Op{Verb: Patch, Key: "k", Value: object("m", 2)}, Op{Verb: Increment, Key: "k", Path: []string{"c"}, Delta: 3}))
	for _, p := range b.log {
		a.receive(t, p)
	}
	must(t, a.apply(t, Op{Verb: Delete, Key: "k", Path: []string{"gone"}}))
	if a.Probe("absent", 1000).Snapshot() != nil || b.Probe("k", 1000).Snapshot() != nil {
		t.Error("there is a snapshot of an absent key, or of a small one")
	}
	x := a.Probe("k", 1000).Snapshot()
	must(t, a.apply(t, Op{Verb: Patch, Key: "k", Value: object("n", 2)}))
	before, ok := x.Render()
	if x.Publish(); !ok || before.Value().Field("n").String() != "1" || !before.Value().Field("gone").IsZero() || before.Value().Field("c").String() != "3" {
		t.Errorf("a snapshot has %.100v", before.Value())
	}
	if _, _, fresh := a.Load("k"); fresh {
		t.Error("a snapshot was published after a write")
	}
	x = a.Probe("k", 1000).Snapshot()
	e, _ := x.Render()
	x.Publish()
	if now, ok, fresh := a.Load("k"); !ok || !fresh || !now.Same(e) || a.Probe("k", 1000).Snapshot() != nil {
		t.Error("a snapshot was not published")
	}
	c, _ := a.index.Load("k")
	want := Entry{renderer{a.Store}.render(c, 1000), a.Store}
	if e.Value() != want.Value() || e.Version() != want.Version() || e.Kind() != want.Kind() || e.Dot() != want.Dot() || e.Stamp() != want.Stamp() || e.Expiry() != want.Expiry() {
		t.Errorf("a snapshot is %.100v, want %.100v", e.Value(), want.Value())
	}
}

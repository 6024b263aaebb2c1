package agent

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/agent/fleet"
	"github.com/sentinel-peer/sentinel-peer/internal/keyspace"
)

// A scheduler that changes the list at random reads back what it wrote. Tasks that kept their position
// were not written again.
func TestAQueueIsWhatWasWritten(t *testing.T) {
	a := open(t, Config{Name: "n1"})
	rng := rand.New(rand.NewPCG(1, 2))
	next := 0
	fresh := func() string {
		next++
		return string(rune('a'+next%26)) + string(rune('a'+next/26%26)) + string(rune('a'+next/676))
	}
	for range 400 {
		s, err := a.Queue().State()
		if err != nil {
			t.Fatal(err)
		}
		list := s.Pending
		at := func() int { return rng.IntN(len(list) + 1) }
		switch op := rng.IntN(6); {
		case op == 0 && len(list) > 1:
			i := rng.IntN(len(list))
			task := list[i]
			list = slices.Delete(list, i, i+1)
			list = slices.Insert(list, at(), task)
		case op == 1 && len(list) > 20:
			list = slices.Delete(list, 3, 9)
		case op == 2:
			list = slices.Insert(list, 0, fresh(), fresh())
		case op == 3:
			list = slices.Insert(list, min(5, len(list)), fresh()) // always at the same index
		case op == 4:
			list = append(list, fresh(), fresh(), fresh())
		default:
			list = slices.Insert(list, at(), fresh())
		}
		s.Pending = list
		if err := a.Queue().SetState(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		got, err := a.Queue().State()
		if err != nil || !slices.Equal(got.Pending, list) {
			t.Fatalf("%v, wrote\n%v, read\n%v", err, list, got.Pending)
		}
	}
	for range 30 { // until there is no order left between two neighbours
		s, _ := a.Queue().State()
		list := slices.Insert(s.Pending, 1, fresh())
		s.Pending = list
		if err := a.Queue().SetState(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		if got, _ := a.Queue().State(); !slices.Equal(got.Pending, list) {
			t.Fatalf("wrote\n%v, read\n%v", list, got.Pending)
		}
	}
}

// A state that was read some time ago does not undo changes that others have made since.
func TestAnOldStateOfTheQueueUndoesNothing(t *testing.T) {
	a := open(t, Config{Name: "n1"})
	ctx, q := t.Context(), a.Queue()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(q.SetState(ctx, fleet.QueueState{Pending: []string{"a", "b", "c", "a"}}))
	old, err := q.State()
	check(err)
	other, err := q.State()
	check(err)
	other.Pending, other.Processing = []string{"new", "c", "b"}, []string{"a"}
	check(q.SetState(ctx, other))
	old.Pending = []string{"a", "b", "c", "mine"}
	check(q.SetState(ctx, old))
	got, err := q.State()
	check(err)
	if !slices.Equal(got.Pending, []string{"new", "c", "b", "mine"}) || !slices.Equal(got.Processing, []string{"a"}) {
		t.Errorf("pending %v, processing %v", got.Pending, got.Processing)
	}
	check(q.SetState(ctx, fleet.QueueState{Pending: []string{"only"}, Fields: map[string]any{"x": 1}}))
	check(q.SetState(ctx, fleet.QueueState{Pending: []string{"only"}}))
	got, err = q.State()
	check(err)
	if !slices.Equal(got.Pending, []string{"only"}) || got.Processing != nil || len(got.Fields) != 0 {
		t.Errorf("made anew: %+v", got)
	}
	// A program in another language adds a task without an order.
	check(a.Object(keyspace.Coordination+"queue").Add(ctx, []string{"pending"}, "plain", []any{"odd"}))
	got, err = q.State()
	check(err)
	if !slices.Contains(got.Pending, "plain") || len(got.Pending) != 3 {
		t.Errorf("beside a bare task: %v", got.Pending)
	}
	if err := q.SetState(ctx, fleet.QueueState{Fields: map[string]any{"pending": 1}}); err == nil {
		t.Error("a field in the place of a list is accepted")
	}
}

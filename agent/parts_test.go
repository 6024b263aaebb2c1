package agent

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// An event of a large set or object has what changed in place of the whole. A snapshot has the whole.
func TestAnEventOfALargeKeyHasItsParts(t *testing.T) {
	a := open(t, Config{Name: "n1"})
	ctx := t.Context()
	large := strings.Repeat("x", crdt.WholeBytes)
	for _, err := range []error{
		a.Set("small").Add(ctx, "one"), a.Set("set").Add(ctx, large), a.Object("object").Patch(ctx, map[string]any{"text": large}),
		a.ForceSync(ctx), // the events of these writes are over
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	sub, err := a.Watch(ctx, "**", WithSnapshot())
	if err != nil {
		t.Fatal(err)
	}
	for e := range sub.C() {
		if e.Cause == CauseSynced {
			break
		}
		if e.Partial || e.New.IsZero() {
			t.Errorf("the snapshot of %s is partial", e.Key)
		}
	}
	f := func(write error, want string) {
		t.Helper()
		if write != nil {
			t.Fatal(write)
		}
		e := <-sub.C()
		got := fmt.Sprint(e.Cause, " ", e.Key, " ", e.Kind, " ", e.New)
		for _, p := range e.Parts {
			got += fmt.Sprint(" ", p.Verb, p.Path, p.Value)
		}
		if e.Partial {
			got += " partial"
		}
		if got != want {
			t.Errorf("the event says %s, want %s", got, want)
		}
	}
	f(a.Set("small").Add(ctx, "two"), `put small set ["one","two"]`)
	f(a.Set("set").Add(ctx, "one"), `put set set null add [] "one" partial`)
	f(a.Set("set").Remove(ctx, "one"), `put set set null remove [] "one" partial`)
	f(a.Object("object").Patch(ctx, map[string]any{"a": map[string]any{"b": 1, "c": []int{2}}}), `put object object null put [a b] 1 add [a c] 2 partial`)
	f(a.Object("object").Increment(ctx, 3, "n"), `put object object null put [n] 3 partial`)
	f(a.Object("object").Increment(ctx, 4, "n"), `put object object null put [n] 7 partial`)
	f(a.Object("object").Patch(ctx, map[string]any{"a": nil}), `put object object null delete [a] null partial`)
	f(a.Delete(ctx, "set"), `delete set set null`)
	f(a.Delete(ctx, "object"), `delete object object null`)
}

// What waits for a subscriber is bounded by its size, and parts count.
func TestTheSizeOfAnEventCountsItsParts(t *testing.T) {
	v, _ := crdt.ValueOf(strings.Repeat("v", 1000))
	e := Event{Key: "k", Parts: []crdt.Part{{Verb: crdt.Put, Path: []string{"a"}, Value: v}}}
	if n := e.size(); n < 1000 || n > 1200 {
		t.Errorf("an event of 1,000 bytes counts %d", n)
	}
}

// Readers of a large set and a writer do not disturb each other: each reader sees what was in the set at
// one moment, here an even number of elements.
func TestAWholeIsReadBesideWrites(t *testing.T) {
	a := open(t, Config{Name: "n1"})
	ctx := t.Context()
	s := a.Set("set")
	if err := s.Add(ctx, strings.Repeat("x", crdt.WholeBytes), "y"); err != nil {
		t.Fatal(err)
	}
	var readers sync.WaitGroup
	done := make(chan struct{})
	for range 3 {
		readers.Go(func() {
			for last := 0; ; {
				values, err := s.Values()
				if err != nil || len(values)%2 != 0 || len(values) < last {
					t.Errorf("read %d elements after %d, %v", len(values), last, err)
					return
				}
				last = len(values)
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	o := a.Object("object")
	readers.Go(func() {
		for {
			if v, _ := a.Get("object"); v.Field("left").String() != v.Field("right").String() {
				t.Errorf("read %.80v", v)
				return
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	writes := 200
	if testing.Short() {
		writes = 40
	}
	for i := range writes {
		err := errors.Join(s.Add(ctx, 2*i, 2*i+1),
			o.Patch(ctx, map[string]any{"left": i, "right": i, "text": strings.Repeat("x", crdt.WholeBytes), "set": []int{i}}),
			o.Delete(ctx, "set"))
		if err != nil {
			t.Error(err)
		}
	}
	close(done)
	readers.Wait()
	if values, err := s.Values(); len(values) != 2*writes+2 || err != nil {
		t.Errorf("%d elements, %v", len(values), err)
	}
}

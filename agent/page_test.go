package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// Elements that stay are on exactly one page, whatever comes and goes while readers page through the set.
func TestPagesBesideChangesHaveWhatStaysOnce(t *testing.T) {
	a := open(t, Config{Name: "a"})
	ctx, n := t.Context(), 1000
	var stay []any
	for i := range n {
		stay = append(stay, fmt.Sprintf("%05d stays", i))
	}
	if err := a.Set("set").Add(ctx, stay...); err != nil {
		t.Fatal(err)
	}
	writing, stop := context.WithCancel(ctx)
	var writer, readers sync.WaitGroup
	writer.Go(func() {
		for i := 0; writing.Err() == nil; i++ {
			_ = a.Set("set").Add(ctx, fmt.Sprintf("%05d goes", i%n))
			_ = a.Set("set").Remove(ctx, fmt.Sprintf("%05d goes", (i-10)%n))
		}
	})
	for range 2 {
		readers.Go(func() {
			seen, last := 0, ""
			for after := (crdt.Value{}); ; {
				page, err := a.Set("set").Page(after, 50)
				if err != nil {
					t.Error(err)
					return
				}
				for _, v := range page.Values {
					s := v.Any().(string)
					if s <= last {
						t.Errorf("%s comes after %s", s, last)
					}
					if last = s; strings.HasSuffix(s, "stays") {
						seen++
					}
				}
				if after = page.Next; after.IsZero() {
					break
				}
			}
			if seen != n {
				t.Errorf("%d elements that stay were read, want %d", seen, n)
			}
		})
	}
	readers.Wait()
	stop()
	writer.Wait()
}

// A page of a small key is that of its value, and says if there is none.
func TestPagesOfSmallKeys(t *testing.T) {
	a := open(t, Config{Name: "a"})
	if err := errors.Join(a.Set("set").Add(t.Context(), 3, 1, 2),
		a.Object("object").Patch(t.Context(), map[string]any{"b": 1, "a": map[string]any{"x": "y"}, "empty": []any{}})); err != nil {
		t.Fatal(err)
	}
	set, err := a.Set("set").Page(crdt.Value{}, 2)
	if err != nil || fmt.Sprint(set.Kind, set.Names, set.Values, set.Next) != "set [] [1 2] 2" {
		t.Errorf("%+v, %v", set, err)
	}
	set, err = a.Set("set").Page(set.Next, 0)
	if err != nil || fmt.Sprint(set.Values) != "[3]" || !set.Next.IsZero() {
		t.Errorf("%+v, %v", set, err)
	}
	for path, want := range map[string]string{"": `[a b empty]`, "a": `[x]`, "empty": `[]`, "none": `[]`} {
		page, err := a.Object("object").Page(crdt.Value{}, 9, strings.Fields(path)...)
		if err != nil || fmt.Sprint(page.Names) != want || (page.Kind == 0) != (path == "none") {
			t.Errorf("%q: %+v, %v", path, page, err)
		}
	}
	for _, err := range []error{
		errOf(a.Set("object").Page(crdt.Value{}, 1)), errOf(a.Object("set").Page(crdt.Value{}, 1)), errOf(a.Object("object").Page(crdt.Value{}, 1, "b")),
	} {
		if _, ok := err.(*crdt.TypeError); !ok {
			t.Errorf("%v is no type error", err)
		}
	}
}

func errOf(_ crdt.Page, err error) error { return err }

package api

import (
	"errors"
	"testing"
)

// However much two callers take, something is left for callers that have little.
func TestTheLastIsForThoseWhoHaveFew(t *testing.T) {
	s := NewShares("things", 1280, 640) // 160 are kept, for callers with fewer than 20
	for i := range 1120 {
		if err := s.Take([]string{"a", "b"}[i%2]); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
	}
	for _, who := range []string{"a", "b"} {
		limit, ok := errors.AsType[*LimitError](s.Take(who))
		if !ok || !limit.Own || limit.Few != 20 || limit.Error() != "the last of 1280 things are kept for clients that have fewer than 20" {
			t.Errorf("%s: %v", who, limit)
		}
	}
	for i := range 20 {
		if err := s.Take("c"); err != nil {
			t.Fatalf("one who has %d: %v", i, err)
		}
	}
	if err := s.Take("c"); err == nil {
		t.Error("one who has 20 takes what is kept")
	}
	if err := s.Take("d"); err != nil {
		t.Errorf("one who has none: %v", err)
	}
}

func TestEachCallerHasNoMoreThanItsShare(t *testing.T) {
	s := NewShares("things", 5, 3)
	refused := func(caller string) *LimitError {
		t.Helper()
		err := s.Take(caller)
		limit, ok := errors.AsType[*LimitError](err)
		if err != nil && (!ok || err.Error() == "") {
			t.Fatalf("%s: %v", caller, err)
		}
		return limit
	}
	for range 3 {
		if e := refused("greedy"); e != nil {
			t.Fatal(e)
		}
	}
	if e := refused("greedy"); e == nil || !e.Own || e.Most != 3 {
		t.Errorf("beyond its share: %v", e)
	}
	for _, who := range []string{"a", "b"} {
		if e := refused(who); e != nil {
			t.Errorf("%s is shut out: %v", who, e)
		}
	}
	if e := refused("c"); e == nil || e.Own || e.Most != 5 {
		t.Errorf("beyond all there is: %v", e)
	}
	s.Give("greedy")
	if e := refused("c"); e != nil || s.Taken() != 5 {
		t.Errorf("what was given back is not there: %v, %d taken", e, s.Taken())
	}
	for _, who := range []string{"greedy", "greedy", "a", "b", "c"} {
		s.Give(who)
	}
	if len(s.by) != 0 || s.Taken() != 0 {
		t.Errorf("callers that have nothing are remembered: %v", s.by)
	}
}

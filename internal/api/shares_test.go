package api

import (
	"errors"
	"testing"
)

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

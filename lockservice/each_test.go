package lockservice

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

func TestManyLocksAreTriedAtOnce(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		a, b, _ := w.three()
		held := mustLock(t, b, "x7")
		var names []string
		for i := range 50 {
			names = append(names, fmt.Sprintf("x%d", i))
		}
		began := time.Now()
		got := a.TryEach(t.Context(), append(names, "x1", "a#b"))
		if d := time.Since(began); d > 5*time.Millisecond {
			t.Errorf("took %v", d)
		}
		var leases []*Lease
		for i, g := range got {
			switch {
			case i == 7 || i == 50:
				if !errors.Is(g.Err, ErrHeld) {
					t.Errorf("%d: %v", i, g.Err)
				}
			case i == 51:
				if !errors.Is(g.Err, ErrName) {
					t.Errorf("%d: %v", i, g.Err)
				}
			case g.Err != nil || g.Lease.Name() != names[i]:
				t.Errorf("%d: %v", i, g.Err)
			default:
				leases = append(leases, g.Lease)
			}
		}
		if err := errors.Join(a.ConfirmEach(t.Context(), leases)...); err != nil {
			t.Errorf("confirm: %v", err)
		}
		w.isolate(true, true, "a")
		for _, err := range a.ConfirmEach(in(t, time.Second), leases[:2]) {
			if !errors.Is(err, ErrTimeout) {
				t.Errorf("confirmed while cut off: %v", err)
			}
		}
		w.isolate(false, true, "a")
		UnlockEach(leases)
		time.Sleep(100 * time.Millisecond)
		mustUnlock(t, mustLock(t, b, "x1"))
		mustUnlock(t, held)
		for _, g := range a.TryEach(in(t, time.Second), []string{"x7", "x1"}) {
			if g.Err != nil {
				t.Errorf("released: %v", g.Err)
			}
		}
	})
}

// A lock that a majority bars is refused, and one that a single voter bars is granted.
func TestABarredLockIsNotCertified(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		var bar [3]atomic.Uint64 // for each voter, the token under which the work was done
		var all []*Session
		for i, name := range []string{"a", "b", "c"} {
			all = append(all, w.open(name, abc, func(c *SessionConfig) {
				c.Node.Barred = func(lock string, token uint64) bool {
					by := bar[i].Load()
					return lock == "x" && by != 0 && token != by
				}
			}))
		}
		time.Sleep(time.Second)
		l := mustLock(t, all[0], "x")
		for i := range 2 {
			bar[i].Store(l.Token())
		}
		if err := l.Renew(t.Context()); err != nil {
			t.Errorf("who barred it: %v", err)
		}
		mustUnlock(t, l)
		for _, s := range all {
			if _, err := s.TryLock(t.Context(), "x"); !errors.Is(err, ErrBarred) {
				t.Errorf("barred by two: %v", err)
			}
		}
		bar[0].Store(0)
		next := mustLock(t, all[2], "x")
		bar[0].Store(l.Token()) // from now on the voter does not certify the lease again
		if err := errors.Join(all[2].ConfirmEach(in(t, time.Second), []*Lease{next})...); err == nil {
			t.Error("a majority that bars it confirmed it")
		}
	})
}

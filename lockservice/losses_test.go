package lockservice

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// While a callback does not return, the memory for lost leases has a bound, however many are
// lost.
func TestLossesThatNobodyHearsAreBounded(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		stuck := make(chan struct{})
		s := w.open("a", []string{"a"}, func(c *SessionConfig) { c.Lost = func(*LostError) { <-stuck } })
		lose := func() {
			l := &Lease{s: s, cancel: func(error) {}, timer: time.NewTimer(time.Hour)}
			l.end(&LostError{Lock: "x", Cause: ErrExpired})
		}
		lose()
		synctest.Wait() // the callback is running
		for range maxLosses + 10 {
			lose()
		}
		if untold, lost := s.losses.Dropped(), s.Stats().Lost; untold != 10 || lost != maxLosses+11 {
			t.Errorf("%d of %d losses are given up, want 10", untold, lost)
		}
		close(stuck)
	})
}

func TestALeaseThatIsReleasedElsewhereIsNotLost(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		a, b, _ := w.three()
		lease := mustLock(t, a, "x", WithBearer(), WithTTL(2*time.Second))
		mustUnlock(t, mustResume(t, b, "x", lease.ID()))
		if err := lease.Renew(t.Context()); !errors.Is(err, ErrReleased) || a.Stats().Lost != 0 {
			t.Errorf("%v, and %d are lost", err, a.Stats().Lost)
		}
	})
}

// When the time of a bearer's lease runs out at one peer, the lease may go on at another peer.
// So the first peer does not count a loss. The end of a session is no loss either.
func TestALeaseThatGoesOnElsewhereHasLapsed(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		told := make(chan *LostError, 10)
		a := w.open("a", abc, func(c *SessionConfig) { c.Lost = func(e *LostError) { told <- e } })
		b, _ := w.open("b", abc, nil), w.open("c", abc, nil)
		lease, kept := mustLock(t, a, "x", WithBearer(), WithTTL(2*time.Second)), mustLock(t, a, "kept")
		for range 5 {
			time.Sleep(600 * time.Millisecond)
			mustResume(t, b, "x", lease.ID())
		}
		if e := <-told; !errors.Is(e, ErrLapsed) || !errors.Is(e, ErrExpired) || !errors.Is(lease.Err(), ErrLapsed) {
			t.Errorf("told of %v; the lease: %v", e, lease.Err())
		}
		if st := a.Stats(); st.Lost != 0 || st.Lapsed != 1 || st.Held != 1 {
			t.Errorf("%d are lost, %d have lapsed", st.Lost, st.Lapsed)
		}
		w.stop(b)
		if st := b.Stats(); st.Lost != 0 || st.Lapsed != 0 {
			t.Errorf("at its close %d are lost, %d have lapsed", st.Lost, st.Lapsed)
		}
		w.isolate(true, false, "a")
		<-kept.Done()
		if e := <-told; errors.Is(e, ErrLapsed) || a.Stats().Lost != 1 {
			t.Errorf("told of %v, and %d are lost", e, a.Stats().Lost)
		}
	})
}

// Whoever sees that a lease is over finds the cause: it is set while the lease still shows as
// held and nobody has been woken.
func TestTheCauseOfAnEndIsThereBeforeTheEndShows(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		l := mustLock(t, w.open("a", []string{"a"}, nil), "x")
		l.mu.Lock()
		woken, set := l.renewal(), false
		cancel := l.cancel
		l.cancel = func(cause error) { // end calls it with mu held
			select {
			case <-woken:
				t.Error("who waits is woken before")
			default:
			}
			if l.over {
				t.Error("it is over before")
			}
			cancel(cause)
			set = true
		}
		l.mu.Unlock()
		mustUnlock(t, l)
		<-woken
		if !set || !errors.Is(l.Err(), context.Canceled) || l.Remaining() != 0 {
			t.Errorf("afterwards: %v", l.Err())
		}
	})
}

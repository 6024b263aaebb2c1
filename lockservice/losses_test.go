package lockservice

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A callback that does not return costs memory up to a bound, however many leases are lost.
func TestLossesThatNobodyHearsAreBounded(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		stuck := make(chan struct{})
		s := w.open("a", []string{"a"}, func(c *SessionConfig) { c.Lost = func(*LostError) { <-stuck } })
		lose := func() {
			l := &Lease{s: s, cancel: func(error) {}, timer: time.NewTimer(time.Hour)}
			l.end(&LostError{Lock: "x", Cause: ErrExpired})
		}
		lose()
		synctest.Wait() // it is being told
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
		lease := mustLock(t, a, "x", WithManualRenewal(), WithTTL(2*time.Second))
		mustUnlock(t, mustResume(t, b, "x", lease.ID()))
		if err := lease.Renew(t.Context()); !errors.Is(err, ErrReleased) || a.Stats().Lost != 0 {
			t.Errorf("%v, and %d are lost", err, a.Stats().Lost)
		}
	})
}

package lockservice

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestCloseEndsEverything(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		a, b, _ := w.three()
		l := mustLock(t, a, "x")
		held := mustLock(t, b, "y")
		errs := make(chan error, 2)
		go func() { _, err := a.Lock(t.Context(), "y"); errs <- err }()
		time.Sleep(time.Second)
		go func() { _, err := a.Lock(t.Context(), "y"); errs <- err }()
		time.Sleep(time.Second)
		closed := make(chan error, 2)
		for range 2 {
			go func() { closed <- a.Close(t.Context()) }()
		}
		for range 2 {
			if err := <-errs; !errors.Is(err, ErrClosed) {
				t.Errorf("a waiter got %v", err)
			}
		}
		<-l.Done()
		if !errors.Is(l.Err(), ErrClosed) || !errors.Is(l.Err(), ErrLost) {
			t.Errorf("the lease ended by %v", l.Err())
		}
		if _, err := a.Lock(t.Context(), "z"); !errors.Is(err, ErrClosed) {
			t.Errorf("Lock: %v", err)
		}
		if _, err := a.Inspect(t.Context(), "z"); !errors.Is(err, ErrClosed) {
			t.Errorf("Inspect: %v", err)
		}
		if _, err := b.TryLock(t.Context(), "x"); !errors.Is(err, ErrHeld) {
			t.Errorf("x was free while its holder had not stopped: %v", err)
		}
		mustUnlock(t, l)
		for range 2 {
			if err := <-closed; err != nil {
				t.Error(err)
			}
		}
		began := time.Now()
		mustUnlock(t, mustLock(t, b, "x"))
		if d := time.Since(began); d > time.Second {
			t.Errorf("x was free after %v only", d)
		}
		mustUnlock(t, held)
	})
}

// A holder that does not stop in time may still be at work. Nobody else gets its lock before
// its lease is over by the holder's own clock.
func TestCloseReleasesNothingThatIsNotUnlocked(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		_, b, _ := w.three()
		client := w.open("client", abc, nil)
		l := mustLock(t, client, "x", WithTTL(4*time.Second))
		time.Sleep(10 * time.Second) // the session renews the lease
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		until := time.Now().Add(l.Remaining())
		if err := client.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(until) > 0 {
			t.Errorf("closed: %v, at %v", err, time.Since(until))
		}
		if err := l.Unlock(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("unlocked too late: %v", err)
		}
		mustUnlock(t, mustLock(t, b, "x"))
		if time.Now().Before(until) {
			t.Errorf("held by another %v before the time of its holder was over", time.Until(until))
		}
	})
}

// A bearer's lease may belong to another process, which works until the lease's
// time is over. So Close does not release it.
func TestCloseReleasesNoLeaseThatIsRenewedByHand(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		_, b, _ := w.three()
		client := w.open("client", abc, nil)
		l := mustLock(t, client, "x", WithBearer(), WithTTL(2*time.Second))
		until := time.Now().Add(l.Remaining())
		if err := client.Close(t.Context()); err != nil || !errors.Is(l.Err(), ErrClosed) {
			t.Fatalf("%v, %v", err, l.Err())
		}
		mustUnlock(t, mustLock(t, b, "x"))
		if time.Now().Before(until) {
			t.Errorf("held by another %v before the time of its holder was over", time.Until(until))
		}
	})
}

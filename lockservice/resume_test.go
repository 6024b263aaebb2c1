package lockservice

import (
	"errors"
	"testing"
	"time"
)

// nobody fails the test if another call can get the lock.
func nobody(t *testing.T, s *Session, name string) {
	t.Helper()
	if l, err := s.TryLock(t.Context(), name); !errors.Is(err, ErrHeld) {
		t.Fatalf("%q was to be had while another holds it: %v, %v", name, l, err)
	}
}

func mustResume(t *testing.T, s *Session, name, id string) *Lease {
	t.Helper()
	l, err := s.Resume(t.Context(), name, id)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// A bearer moves from peer to peer as they stop and start, and holds one lease all the time.
func TestALeaseIsRenewedAtEveryPeer(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		a, b, c := w.three()
		first := mustLock(t, a, "x", WithBearer(), WithTTL(2*time.Second))
		w.stop(a)
		for range 5 {
			time.Sleep(first.ttl / 2)
			l := mustResume(t, b, "x", first.ID())
			if l.Token() != first.Token() || l.ID() != first.ID() || l.Remaining() < first.ttl/2 {
				t.Fatalf("resumed with token %d instead of %d for %v", l.Token(), first.Token(), l.Remaining())
			}
			nobody(t, c, "x")
		}
		if err := mustResume(t, c, "x", first.ID()).Unlock(t.Context()); err != nil {
			t.Fatal(err)
		}
		// b still has the lease as held, and must not renew it after its release.
		if _, err := b.Resume(t.Context(), "x", first.ID()); !errors.Is(err, ErrReleased) && !errors.Is(err, ErrNotHolder) {
			t.Errorf("a lease that was released elsewhere is renewed: %v", err)
		}
		next := mustLock(t, b, "x")
		if next.Token() <= first.Token() {
			t.Errorf("token %d after %d", next.Token(), first.Token())
		}
		if _, err := c.Resume(t.Context(), "x", first.ID()); !errors.Is(err, ErrNotHolder) {
			t.Errorf("a lease that was released is resumed: %v", err)
		}
		mustUnlock(t, next)
	})
}

// A peer that loses a bearer's lease releases nothing, because the bearer may have renewed the
// lease at another peer.
func TestALeaseThatRunsOutHereGoesOnElsewhere(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		a, b, c := w.three()
		first := mustLock(t, a, "x", WithBearer(), WithTTL(time.Second))
		for range 10 {
			time.Sleep(300 * time.Millisecond)
			mustResume(t, b, "x", first.ID())
			nobody(t, c, "x")
		}
		if !errors.Is(first.Err(), ErrExpired) {
			t.Errorf("the lease at the first peer: %v", first.Err())
		}
		if l := mustResume(t, a, "x", first.ID()); l.Token() != first.Token() {
			t.Errorf("token %d, not %d", l.Token(), first.Token())
		}
	})
}

// Resume refuses an ID that never was a lease, a lease that is over, and one with other fields.
func TestALeaseThatIsNotThereIsNotResumed(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		a, b, _ := w.three()
		l := mustLock(t, a, "x", WithBearer(), WithTTL(time.Second))
		good, _ := ParseBearer("x", l.ID())
		forged := map[string]func(b *Bearer){
			"another instance": func(b *Bearer) { b.Inst.N++ },
			"another life":     func(b *Bearer) { b.Inst.Boot[0]++ },
			"another peer":     func(b *Bearer) { b.Inst.Node = "c" },
			"another token":    func(b *Bearer) { b.Token++ },
			"another mode":     func(b *Bearer) { b.Mode = Shared },
		}
		for what, forge := range forged {
			bad := good
			forge(&bad)
			if _, err := b.Resume(t.Context(), "x", bad.ID()); !errors.Is(err, ErrNotHolder) {
				t.Errorf("%s: %v", what, err)
			}
		}
		for _, id := range []string{"", "x", "AAAA", l.ID() + "*", l.ID()[:40]} {
			if _, err := b.Resume(t.Context(), "x", id); !errors.Is(err, ErrNotHolder) {
				t.Errorf("%q: %v", id, err)
			}
		}
		if _, err := b.Resume(t.Context(), "y", l.ID()); !errors.Is(err, ErrNotHolder) {
			t.Errorf("for another lock: %v", err)
		}
		if l := mustLock(t, a, "z"); l.ID() != "" {
			t.Errorf("a lease that is renewed by itself has the ID %q", l.ID())
		}
		time.Sleep(3 * time.Second)
		if _, err := b.Resume(t.Context(), "x", l.ID()); !errors.Is(err, ErrNotHolder) {
			t.Errorf("it had run out: %v", err)
		}
	})
}

// Two calls that resume one lease get the same lease.
func TestALeaseIsResumedOnce(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		a, b, _ := w.three()
		id := mustLock(t, a, "x", WithBearer()).ID()
		got := make(chan *Lease, 2)
		for range 2 {
			go func() { l, _ := b.Resume(t.Context(), "x", id); got <- l }()
		}
		if one, other := <-got, <-got; one == nil || one != other {
			t.Errorf("%v and %v", one, other)
		}
	})
}

// All three voters stop and start one after the other, while a bearer keeps its lease.
func TestALeaseOutlivesARollingRestart(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		a, b, c := w.three()
		id := mustLock(t, a, "x", WithBearer(), WithTTL(6*time.Second)).ID()
		at := map[string]*Session{"a": a, "b": b, "c": c}
		for i, name := range abc {
			other := abc[(i+1)%3]
			w.stop(at[name])
			mustResume(t, at[other], "x", id)
			nobody(t, at[abc[(i+2)%3]], "x")
			at[name] = w.open(name, abc, func(c *SessionConfig) { c.Node.FirstBoot = false })
			for range 12 { // the voter's quarantine, and one more renewal
				time.Sleep(2 * time.Second)
				mustResume(t, at[other], "x", id)
			}
		}
		mustUnlock(t, mustResume(t, at["c"], "x", id))
	})
}

package lockservice

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestWithoutAMajorityEveryCallSaysSoInTime(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		a, _, _ := w.three()
		held := mustLock(t, a, "held")
		w.isolate(true, true, "b", "c")
		f := func(name string, err error, reachable int) {
			t.Helper()
			u, ok := errors.AsType[*UnavailableError](err)
			if !ok || !errors.Is(err, ErrUnavailable) || u.Reachable != reachable || u.Needed != 2 {
				t.Errorf("%s: %v", name, err)
			}
		}
		_, err := a.Lock(in(t, time.Second), "x")
		f("Lock", err, 1)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the context's error is missing: %v", err)
		}
		_, err = a.TryLock(t.Context(), "x", WithTTL(time.Second))
		f("TryLock", err, 1)
		_, err = a.Inspect(in(t, time.Second), "x")
		f("Inspect", err, 1)
		_, err = a.LockAll(in(t, time.Second), []string{"y", "x"})
		f("LockAll", err, 1)
		f("Renew", held.Renew(in(t, 6*time.Second)), 1)
		w.isolate(false, true, "b", "c")
		mustUnlock(t, mustLock(t, a, "x"))
	})
}

// The error of a call names voters that are up but do not answer, and voters that are not in
// the view.
func TestVotersThatNeverAnswerAreReported(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		client := w.open("client", []string{"x", "y", "z"}, nil)
		_, err := client.Lock(in(t, time.Second), "l")
		if err == nil || !strings.Contains(err.Error(), "0 of 2 voters") {
			t.Errorf("nobody alive: %v", err)
		}
		client.SetLive([]string{"x", "y", "z"})
		_, err = client.Lock(in(t, time.Second), "l")
		if err == nil || !strings.Contains(err.Error(), "did not answer") {
			t.Errorf("nobody answers: %v", err)
		}
	})
}

func TestAVoterThatHasStartedSaysHowLongItIsSilent(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		s := w.open("a", []string{"a"}, func(c *SessionConfig) { c.Node.FirstBoot = false })
		_, err := s.Lock(in(t, time.Second), "x")
		u, ok := errors.AsType[*UnavailableError](err)
		if !ok || u.Quarantine < 15*time.Second || !strings.Contains(err.Error(), "has just started takes part in 1") {
			t.Errorf("%v", err)
		}
		began := time.Now()
		mustUnlock(t, mustLock(t, s, "x"))
		if d := time.Since(began); d > 18*time.Second {
			t.Errorf("it took %v", d)
		}
	})
}

func TestAnotherVoterOwnsTheQueueWhenItsOwnerIsGone(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		w.three()
		client, other := w.open("client", abc, nil), w.open("other", abc, nil)
		lock := ownedBy("b", abc)
		l := mustLock(t, client, lock)
		got := make(chan *Lease)
		go func() { got <- mustLock(t, other, lock) }()
		time.Sleep(time.Second)
		w.crash("b")
		w.view()
		time.Sleep(30 * time.Second)
		if l.Err() != nil {
			t.Errorf("the lease did not survive: %v", l.Err())
		}
		began := time.Now()
		mustUnlock(t, l)
		next := <-got
		if d := time.Since(began); d > 30*time.Millisecond {
			t.Errorf("handed over after %v", d)
		}
		mustUnlock(t, next)
	})
}

// A dead voter that every view still shows as up costs some retries.
func TestAnOwnerThatIsSilentIsPassedOver(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		w.three()
		client := w.open("client", abc, nil)
		mustUnlock(t, mustLock(t, client, ownedBy("a", abc))) // the client measures the round-trip time
		w.isolate(true, false, "b")
		began := time.Now()
		l := mustLock(t, client, ownedBy("b", abc))
		if d := time.Since(began); d > 150*time.Millisecond {
			t.Errorf("it took %v", d)
		}
		mustUnlock(t, l)
	})
}

func TestTokensRiseAcrossARestartOfAllWithWrongClocks(t *testing.T) {
	dir := t.TempDir()
	state := func(name string) func(*SessionConfig) {
		return func(c *SessionConfig) { c.StateDir = filepath.Join(dir, name) }
	}
	var last uint64
	within(t, func(t *testing.T, w *twin) {
		time.Sleep(time.Hour) // ahead of the next
		for _, n := range abc {
			w.open(n, abc, state(n))
		}
		l := mustLock(t, w.sessions["a"], "x")
		last = l.Token()
		mustUnlock(t, l)
	})
	within(t, func(t *testing.T, w *twin) {
		for _, n := range abc {
			w.open(n, abc, state(n))
		}
		l := mustLock(t, w.sessions["a"], "x")
		if l.Token() <= last {
			t.Errorf("token %d after %d", l.Token(), last)
		}
		mustUnlock(t, l)
	})
	file := filepath.Join(dir, "a", StateFile)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(b), "bound ", "bound 1", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(SessionConfig{Node: Config{Self: "a", Voters: Voters{Names: abc}}, Send: func(string, []byte) {}, StateDir: filepath.Join(dir, "a")}); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a damaged state: %v", err)
	}
}

func TestVotersAreReplacedWhileALeaseIsHeld(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		w.three()
		w.open("d", abc, nil)
		client := w.open("client", abc, nil)
		l := mustLock(t, client, "x")
		all := func(v Voters) {
			for _, name := range []string{"a", "b", "c", "d", "client"} {
				for {
					err := w.sessions[name].Reload(v)
					if err == nil {
						break
					}
					if !errors.Is(err, ErrReload) {
						t.Fatal(err)
					}
					time.Sleep(time.Second)
				}
			}
		}
		all(Voters{Epoch: 2, Names: []string{"a", "b", "c", "d"}})
		all(Voters{Epoch: 3, Names: []string{"a", "b", "d"}})
		w.crash("c")
		w.view()
		time.Sleep(30 * time.Second)
		if l.Err() != nil {
			t.Errorf("lost: %v", l.Err())
		}
		mustUnlock(t, l)
		next := mustLock(t, w.sessions["d"], "x")
		if next.Token() <= l.Token() {
			t.Error("the token fell")
		}
		mustUnlock(t, next)
	})
}

// In best-effort mode both sides of a partition grant the lock. When the partition heals, the
// lease with the lower token is lost.
func TestBestEffortIsWhatItSays(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		best := func(c *SessionConfig) { c.Node.Voters = Voters{BestEffort: true} }
		a, b := w.open("a", nil, best), w.open("b", nil, best)
		low := mustLock(t, a, "x")
		if low.Guarantee() != BestEffort {
			t.Errorf("guarantee %v", low.Guarantee())
		}
		if _, err := b.TryLock(t.Context(), "x"); !errors.Is(err, ErrHeld) {
			t.Errorf("together: %v", err)
		}
		a.SetLive([]string{"a"})
		b.SetLive([]string{"b"})
		w.isolate(true, false, "a")
		time.Sleep(20 * time.Second)
		high := mustLock(t, b, "x")
		if low.Err() != nil || high.Token() <= low.Token() {
			t.Errorf("apart: %v, tokens %d and %d", low.Err(), low.Token(), high.Token())
		}
		w.isolate(false, true, "a")
		<-low.Done()
		if !errors.Is(low.Err(), ErrConflict) || high.Err() != nil {
			t.Errorf("healed: %v and %v", low.Err(), high.Err())
		}
		if held := a.Stats().Held; held != 0 {
			t.Errorf("%d leases are held by who has lost its own", held)
		}
		mustUnlock(t, high)
	})
}

// A waiting client asks the next owner as soon as the view shows that the owner is gone.
func TestFailoverTakesNoLongerThanDetection(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		w.three()
		client := w.open("client", abc, nil)
		lock := ownedBy("b", abc)
		w.crash("b")
		got := make(chan *Lease)
		go func() { got <- mustLock(t, client, lock) }()
		time.Sleep(12 * time.Millisecond)
		w.view()
		began := time.Now()
		l := <-got
		if d := time.Since(began); d > 5*time.Millisecond {
			t.Errorf("%v after detection", d)
		}
		mustUnlock(t, l)
	})
}

func TestWhetherAMajorityAnswersIsAskedRarely(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		a, _, _ := w.three()
		ask := func(what string, want error, atMost time.Duration) {
			t.Helper()
			began := time.Now()
			if err := a.Majority(t.Context()); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", what, err, want)
			}
			if took := time.Since(began); took > atMost {
				t.Errorf("%s: it took %v", what, took)
			}
		}
		ask("all are up", nil, 10*time.Millisecond)
		time.Sleep(100 * time.Millisecond) // the last of three answers
		before := a.Stats().Messages
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { ask("again at once", nil, 10*time.Millisecond) })
		}
		all.Wait()
		if more := a.Stats().Messages - before; more > 0 {
			t.Errorf("%d messages: the answer is not shared", more)
		}
		w.isolate(true, false, "b", "c")
		time.Sleep(majorityGood)
		ask("they are up and do not answer", ErrUnavailable, majorityWait)
		ask("again at once", ErrUnavailable, 0)
		if u, ok := errors.AsType[*UnavailableError](a.Majority(t.Context())); !ok || !slices.Equal(u.Silent, []string{"b", "c"}) {
			t.Errorf("the silent voters are %+v", u)
		}
		w.isolate(false, false, "b", "c")
		time.Sleep(majorityGood)
		ask("they answer again", nil, 10*time.Millisecond)
		w.isolate(true, true, "b", "c")
		time.Sleep(majorityGood)
		ask("they are not up", ErrUnavailable, 0)
	})
}

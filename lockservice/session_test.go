package lockservice

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// within runs f in virtual time with a network that takes a millisecond.
func within(t *testing.T, f func(t *testing.T, w *twin)) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))) // tokens begin in 2020
		w := newTwin(t, time.Millisecond)
		defer synctest.Wait()
		defer w.close()
		f(t, w)
	})
}

func in(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func mustLock(t testing.TB, s *Session, name string, opts ...Option) *Lease {
	t.Helper()
	l, err := s.Lock(in(t, time.Minute), name, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func mustUnlock(t testing.TB, l interface{ Unlock(context.Context) error }) {
	t.Helper()
	if err := l.Unlock(in(t, time.Minute)); err != nil {
		t.Fatal(err)
	}
}

func TestALockMovesFromOneToTheNextWithARisingToken(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		a, b, _ := w.three()
		client := w.open("client", abc, nil)
		l := mustLock(t, a, "x")
		began := time.Now()
		if _, err := b.TryLock(t.Context(), "x"); !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), "held by a") {
			t.Errorf("TryLock: %v", err)
		}
		got := make(chan *Lease)
		go func() { got <- mustLock(t, client, "x") }()
		time.Sleep(25 * time.Second) // renewed meanwhile
		if l.Remaining() < 5*time.Second || l.Err() != nil {
			t.Errorf("not renewed: %v left, %v", l.Remaining(), l.Err())
		}
		handed := time.Now()
		mustUnlock(t, l)
		next := <-got
		if d := time.Since(handed); d > 20*time.Millisecond {
			t.Errorf("handed over after %v", d)
		}
		if next.Token() <= l.Token() {
			t.Errorf("token %d after %d", next.Token(), l.Token())
		}
		if when := TokenTime(l.Token()); when.Sub(began).Abs() > time.Second {
			t.Errorf("the token means %v", when)
		}
		if err := l.Unlock(t.Context()); err != nil {
			t.Errorf("a second Unlock: %v", err)
		}
		if l.Remaining() != 0 || !errors.Is(l.Err(), context.Canceled) {
			t.Errorf("after Unlock: %v, %v", l.Remaining(), l.Err())
		}
		mustUnlock(t, next)
	})
}

// The holder learns that it is cut off from its own clock alone, before another can
// have the lock.
func TestALeaseEndsByItsOwnClock(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		_, b, _ := w.three()
		client := w.open("client", abc, nil)
		l := mustLock(t, client, "x", WithTTL(2*time.Second))
		child, cancel := context.WithCancel(l.Context())
		defer cancel()
		w.isolate(true, false, "client")
		began := time.Now()
		got := make(chan time.Time)
		go func() {
			next := mustLock(t, b, "x")
			got <- time.Now()
			mustUnlock(t, next)
		}()
		<-child.Done()
		ended := time.Now()
		if d := ended.Sub(began); d > 2*time.Second-100*time.Millisecond {
			t.Errorf("ended after %v", d)
		}
		lost, ok := errors.AsType[*LostError](context.Cause(child))
		if !ok || lost.Token != l.Token() || !errors.Is(lost, ErrExpired) || !errors.Is(lost, ErrLost) {
			t.Errorf("cause %v", context.Cause(child))
		}
		if at := <-got; !at.After(ended) || at.Sub(began) > 3*time.Second {
			t.Errorf("the next had it %v after the cut", at.Sub(began))
		}
		if err := l.Unlock(t.Context()); !errors.Is(err, ErrLost) {
			t.Errorf("Unlock: %v", err)
		}
		if err := l.Renew(t.Context()); !errors.Is(err, ErrLost) {
			t.Errorf("Renew: %v", err)
		}
		w.isolate(false, true, "client")
		time.Sleep(time.Minute)
		if l.Err() == nil || l.Remaining() != 0 {
			t.Error("it came back")
		}
	})
}

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

// Voters that are up but silent, and ones that nobody has seen.
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

func TestOneLocalWaiterStandsForAll(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		a, b, _ := w.three()
		first := mustLock(t, a, "x")
		const n = 10
		var order []string
		var mu sync.Mutex
		var wg sync.WaitGroup
		wait := func(s *Session, name string) {
			wg.Go(func() {
				l := mustLock(t, s, "x")
				mu.Lock()
				order = append(order, name)
				mu.Unlock()
				mustUnlock(t, l)
			})
			time.Sleep(10 * time.Millisecond)
		}
		for i := range n {
			wait(a, fmt.Sprint("a", i))
		}
		wait(b, "b")
		time.Sleep(time.Second)
		if info, err := b.Inspect(t.Context(), "x"); err != nil || info.Waiting != 2 || len(info.Holders) != 1 || info.Holders[0].Inst.Node != "a" || info.Holders[0].Token != first.Token() || !info.Certain {
			t.Errorf("%+v, %v", info, err)
		}
		mustUnlock(t, first)
		wg.Wait()
		if got := strings.Join(order, " "); got != "a0 b a1 a2 a3 a4 a5 a6 a7 a8 a9" {
			t.Errorf("order %v", got)
		}
	})
}

func TestReadersShareAndAWriterIsNotOvertaken(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		a, b, c := w.three()
		read := func(s *Session) *Lease {
			l, err := s.RLock(in(t, time.Minute), "x")
			if err != nil {
				t.Fatal(err)
			}
			return l
		}
		r1, r2 := read(a), read(b)
		writes, reads := make(chan *Lease), make(chan *Lease)
		go func() { writes <- mustLock(t, c, "x") }()
		time.Sleep(100 * time.Millisecond)
		go func() { reads <- read(a) }()
		time.Sleep(time.Second)
		mustUnlock(t, r1)
		mustUnlock(t, r2)
		var writer *Lease
		select {
		case writer = <-writes:
		case <-reads:
			t.Fatal("a reader overtook the writer")
		}
		if writer.Token() <= max(r1.Token(), r2.Token()) {
			t.Error("the writer's token is not above the readers'")
		}
		mustUnlock(t, writer)
		mustUnlock(t, <-reads)
	})
}

func TestLockAllIsAllOrNothing(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		a, b, _ := w.three()
		y := mustLock(t, b, "y")
		if _, err := a.LockAll(in(t, time.Second), []string{"z", "x", "y"}); !errors.Is(err, ErrTimeout) {
			t.Errorf("%v", err)
		}
		time.Sleep(time.Second)
		if info, err := b.Inspect(t.Context(), "x"); err != nil || len(info.Holders) != 0 {
			t.Errorf("x was left behind: %+v, %v", info, err)
		}
		mustUnlock(t, y)
		m, err := a.LockAll(in(t, time.Second), []string{"z", "x", "z", "y"})
		if err != nil || len(m.Leases()) != 3 || m.Token("x") == 0 || m.Token("q") != 0 || m.Remaining() <= 0 {
			t.Fatalf("%+v, %v", m, err)
		}
		mustUnlock(t, m)
		<-m.Done()
		// Who wants the same locks in other orders is not blocked for ever.
		var wg sync.WaitGroup
		for i, s := range []*Session{a, b, a, b} {
			wg.Go(func() {
				names := []string{"p", "q"}
				if i%2 == 0 {
					names = []string{"q", "p"}
				}
				m, err := s.LockAll(in(t, time.Minute), names)
				if err != nil {
					t.Error(err)
					return
				}
				mustUnlock(t, m)
			})
		}
		wg.Wait()
	})
}

func TestASemaphoreHasSoManySlots(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		a, b, _ := w.three()
		sem := func(s *Session) *Semaphore {
			m, err := s.Semaphore("pool", 2)
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
		one, err := sem(a).TryLock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		two, err := sem(b).Lock(in(t, time.Second))
		if err != nil || one.Name() == two.Name() {
			t.Fatalf("%v, %v", two, err)
		}
		if _, err := sem(a).TryLock(t.Context()); !errors.Is(err, ErrHeld) {
			t.Errorf("a third: %v", err)
		}
		got := make(chan *Lease)
		go func() {
			l, err := sem(a).Lock(in(t, time.Minute))
			if err != nil {
				t.Error(err)
			}
			got <- l
		}()
		time.Sleep(time.Second)
		mustUnlock(t, two)
		three := <-got
		if three.Name() != two.Name() || three.Token() <= two.Token() {
			t.Errorf("slot %s, token %d after %d", three.Name(), three.Token(), two.Token())
		}
		mustUnlock(t, one)
		mustUnlock(t, three)
		if _, err := a.Semaphore("pool", 65); err == nil || !strings.Contains(err.Error(), "1 to 64") {
			t.Errorf("65 slots: %v", err)
		}
	})
}

func TestACampaignLeadsResignsAndFollows(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		a, b, _ := w.three()
		client := w.open("client", abc, nil)
		var mu sync.Mutex
		var tokens []uint64
		var wg sync.WaitGroup
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		terms := 0
		wg.Go(func() {
			err := client.Campaign(ctx, "leader", func(ctx context.Context, token uint64) error {
				mu.Lock()
				tokens = append(tokens, token)
				terms++
				mu.Unlock()
				<-ctx.Done()
				return ctx.Err()
			}, WithTTL(2*time.Second))
			if !errors.Is(err, context.Canceled) {
				t.Errorf("the first: %v", err)
			}
		})
		time.Sleep(time.Second)
		wg.Go(func() {
			err := a.Campaign(t.Context(), "leader", func(ctx context.Context, token uint64) error {
				mu.Lock()
				tokens = append(tokens, token)
				mu.Unlock()
				return errors.New("done")
			})
			if err == nil || err.Error() != "done" {
				t.Errorf("the second: %v", err)
			}
		})
		time.Sleep(10 * time.Second)
		w.isolate(true, true, "client")
		time.Sleep(10 * time.Second)
		w.isolate(false, true, "client")
		time.Sleep(10 * time.Second)
		stop()
		wg.Wait()
		mu.Lock()
		defer mu.Unlock()
		if len(tokens) != 3 || terms != 2 || tokens[0] >= tokens[1] || tokens[1] >= tokens[2] {
			t.Errorf("tokens %v, %d terms", tokens, terms)
		}
		_ = b
	})
}

func TestALeaseThatIsRenewedByHandEndsWithout(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		a, _, _ := w.three()
		l := mustLock(t, a, "x", WithTTL(2*time.Second), WithManualRenewal())
		for range 5 {
			time.Sleep(time.Second)
			if err := l.Renew(in(t, time.Second)); err != nil {
				t.Fatal(err)
			}
			if l.Remaining() < 1800*time.Millisecond {
				t.Errorf("%v left", l.Remaining())
			}
		}
		began := time.Now()
		<-l.Done()
		if d := time.Since(began); d > 2*time.Second || d < time.Second {
			t.Errorf("ended after %v", d)
		}
		mustUnlock(t, mustLock(t, a, "x"))
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

// A voter that nobody has declared dead costs some retries.
func TestAnOwnerThatIsSilentIsPassedOver(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		w.three()
		client := w.open("client", abc, nil)
		mustUnlock(t, mustLock(t, client, ownedBy("a", abc))) // it learns how fast this network is
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

func TestBadInputIsNamed(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		a, _, _ := w.three()
		f := func(name string, ttl time.Duration, want error, text string) {
			t.Helper()
			if _, err := a.Lock(t.Context(), name, WithTTL(ttl)); !errors.Is(err, want) || !strings.Contains(err.Error(), text) {
				t.Errorf("%.20q %v: %v", name, ttl, err)
			}
		}
		f("", time.Second, ErrName, "empty")
		f(strings.Repeat("x", 257), time.Second, ErrName, "257 bytes; allowed are 256")
		f("a\x00b", time.Second, ErrName, "not allowed")
		f("a#1", time.Second, ErrName, "not allowed")
		f("a\xff", time.Second, ErrName, "UTF-8")
		f("x", 499*time.Millisecond, ErrTTLTooShort, "500ms to 15s")
		f("x", 16*time.Second, ErrTTLTooLong, "500ms to 15s")
		f("x", -1, ErrTTLTooShort, "500ms")
		if _, err := a.LockAll(t.Context(), nil); !errors.Is(err, ErrName) {
			t.Errorf("no names: %v", err)
		}
		if _, err := Open(SessionConfig{}); err == nil || !strings.Contains(err.Error(), "Send") {
			t.Errorf("no Send: %v", err)
		}
		mixed := w.open("d", []string{"a", "b"}, nil)
		if _, err := mixed.Lock(t.Context(), "x"); !errors.Is(err, ErrConfigMismatch) {
			t.Errorf("voters of two clusters: %v", err)
		}
		short := w.open("e", abc, func(c *SessionConfig) { c.Node.MaxTTL = time.Hour })
		if _, err := short.Lock(t.Context(), "x", WithTTL(time.Minute)); !errors.Is(err, ErrConfigMismatch) {
			t.Errorf("a TTL that only this peer allows: %v", err)
		}
		if err := a.Reload(Voters{Epoch: 2, Names: []string{"a", "d", "e"}}); !errors.Is(err, ErrReload) {
			t.Errorf("four changes: %v", err)
		}
	})
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

// Best effort: both sides of a cut grant, and the lower token loses at the heal.
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

// A holder that does not stop in time may still be at work: nobody gets its lock before
// its lease is over, by its own account.
func TestCloseReleasesNothingThatIsNotUnlocked(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		_, b, _ := w.three()
		client := w.open("client", abc, nil)
		l := mustLock(t, client, "x", WithTTL(4*time.Second))
		time.Sleep(10 * time.Second) // renewed by itself
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

// Who renews by hand may be another process: it works on until its time is over.
func TestCloseReleasesNoLeaseThatIsRenewedByHand(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		_, b, _ := w.three()
		client := w.open("client", abc, nil)
		l := mustLock(t, client, "x", WithManualRenewal(), WithTTL(2*time.Second))
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

// A hundred clients want one lock: each gets it, in turn.
func TestAHundredClientsTakeTurns(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		w.three()
		var wg sync.WaitGroup
		holding, total := 0, 0
		var mu sync.Mutex
		for i := range 100 {
			s := w.open(fmt.Sprintf("client-%d", i), abc, nil)
			wg.Go(func() {
				for range 2 {
					l := mustLock(t, s, "hot")
					mu.Lock()
					if holding++; holding > 1 {
						t.Error("held twice")
					}
					total++
					mu.Unlock()
					time.Sleep(time.Millisecond)
					mu.Lock()
					holding--
					mu.Unlock()
					mustUnlock(t, l)
				}
			})
		}
		wg.Wait()
		if total != 200 {
			t.Errorf("%d turns", total)
		}
	})
}

// Ten thousand leases share their packets, and none is lost.
func TestTenThousandLeasesAreRenewedInBatches(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	within(t, func(t *testing.T, w *twin) {
		packets := 0
		var mu sync.Mutex
		w.three()
		client := w.open("client", abc, func(c *SessionConfig) {
			send := c.Send
			c.Send = func(peer string, b []byte) {
				mu.Lock()
				packets++
				mu.Unlock()
				send(peer, b)
			}
		})
		const n = 10_000
		leases := make([]*Lease, n)
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				for j := i; j < n; j += 50 {
					leases[j] = mustLock(t, client, fmt.Sprint("lock-", j))
				}
			})
		}
		wg.Wait()
		time.Sleep(10 * time.Second)
		mu.Lock()
		packets = 0
		mu.Unlock()
		time.Sleep(10 * time.Second) // some 30,000 renewals
		mu.Lock()
		if packets > 1000 {
			t.Errorf("%d packets in 10 s", packets)
		}
		mu.Unlock()
		for _, l := range leases {
			if l.Err() != nil || l.Remaining() < 5*time.Second {
				t.Fatalf("%s: %v, %v left", l.Name(), l.Err(), l.Remaining())
			}
		}
	})
}

// Who waits asks the next owner as soon as the view says so.
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

// Each of many who always want a lock gets its share of it.
func TestContendersGetFairShares(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		w.three()
		const n = 16
		turns := make([]int, n)
		longest := make([]time.Duration, n)
		ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
		defer stop()
		var wg sync.WaitGroup
		for i := range n {
			s := w.open(fmt.Sprintf("client-%d", i), abc, nil)
			wg.Go(func() {
				for {
					began := time.Now()
					l, err := s.Lock(ctx, "hot")
					if err != nil {
						return
					}
					turns[i]++
					longest[i] = max(longest[i], time.Since(began))
					time.Sleep(5 * time.Millisecond)
					mustUnlock(t, l)
				}
			})
		}
		wg.Wait()
		total := 0
		for _, k := range turns {
			total += k
		}
		fair := 20 * time.Second / time.Duration(total) * n
		for i, k := range turns {
			if 2*n*k < total || longest[i] > 3*fair {
				t.Errorf("client %d: %d of %d turns, waited %v where %v is fair", i, k, total, longest[i], fair)
			}
		}
		if total < 1500 {
			t.Errorf("%d turns in 20 s", total)
		}
	})
}

// Callers of one session share its place, and each is passed by no more than all the
// others, wherever the owner is.
func TestCallersOfFewSessionsTakeTurns(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		w.three()
		w.open("d", abc, nil)
		const n, each = 32, 20
		var mu sync.Mutex
		turns := 0
		var wg sync.WaitGroup
		for i := range n {
			s := w.sessions[string("abcd"[i%4])]
			wg.Go(func() {
				for k := range each {
					mu.Lock()
					asked := turns
					mu.Unlock()
					l := mustLock(t, s, "hot")
					mu.Lock()
					if passed := turns - asked; k > 0 && passed > n+n/4 {
						t.Errorf("%d turns of others passed client %d", passed, i)
					}
					turns++
					mu.Unlock()
					mustUnlock(t, l)
				}
			})
		}
		wg.Wait()
	})
}

// Who gives up leaves its place in the queue to the next of its session.
func TestALocalWaiterInheritsThePlaceOfOneThatGaveUp(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		a, b, c := w.three()
		first := mustLock(t, c, "x")
		go func() {
			if _, err := a.Lock(in(t, 5*time.Second), "x"); !errors.Is(err, ErrTimeout) {
				t.Error(err)
			}
		}()
		time.Sleep(time.Second)
		got := make(chan string, 2)
		wait := func(s *Session, name string) {
			go func() {
				l := mustLock(t, s, "x")
				mustUnlock(t, l)
				got <- name
			}()
			time.Sleep(time.Second)
		}
		wait(b, "b")
		wait(a, "a")
		time.Sleep(10 * time.Second)
		mustUnlock(t, first)
		if one, two := <-got, <-got; one != "a" || two != "b" {
			t.Errorf("%s, then %s", one, two)
		}
	})
}

func TestStatsShowWhatIsHeldWaitedForAndLost(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		s := w.open("a", []string{"a"}, func(c *SessionConfig) { c.Node.FirstBoot = false })
		guest := w.open("guest", []string{"a"}, nil)
		if st := s.Stats(); st.Quarantine < 15*time.Second || guest.Stats().Quarantine != 0 {
			t.Errorf("a voter that has started: %+v, no voter: %+v", st, guest.Stats())
		}
		l := mustLock(t, s, "x", WithManualRenewal(), WithTTL(time.Second))
		for range 3 {
			go s.Lock(in(t, 500*time.Millisecond), "x")
		}
		synctest.Wait()
		if st := s.Stats(); st.Held != 1 || st.Waiting != 3 || st.Lost != 0 || st.Quarantine != 0 {
			t.Errorf("%+v", st)
		}
		<-l.Done()
		synctest.Wait()
		if st := s.Stats(); st.Held != 0 || st.Waiting != 0 || st.Lapsed != 1 {
			t.Errorf("at the end: %+v", st)
		}
		mustUnlock(t, mustLock(t, s, "x"))
		if st := s.Stats(); st.Lapsed != 1 || st.Lost != 0 {
			t.Errorf("unlocked, and %d are lost, %d have lapsed", st.Lost, st.Lapsed)
		}
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

// A cluster whose leases are short needs no other default.
func TestTheDefaultTTLIsWithinTheLongest(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		s := w.open("a", []string{"a"}, func(c *SessionConfig) { c.Node.MaxTTL = 2 * time.Second })
		if l := mustLock(t, s, "k"); l.ttl != 2*time.Second {
			t.Errorf("a lease lasts %v", l.ttl)
		}
	})
}

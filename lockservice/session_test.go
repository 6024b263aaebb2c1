package lockservice

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// within runs f in virtual time, with a network that delays packets by one millisecond.
func within(t *testing.T, f func(t *testing.T, w *twin)) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))) // tokens count microseconds since 2020
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
		time.Sleep(25 * time.Second) // the session renews the lease meanwhile
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

// A holder that is cut off stops by its own clock alone, before another can get the lock.
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

// A holder that was cut off may be connected again while it stops. The next one gets the lock at
// the deadline, or once Unlock says that the holder has stopped.
func TestAHolderHasItsMarginToStop(t *testing.T) {
	for _, stops := range []time.Duration{time.Hour, 100 * time.Millisecond} {
		within(t, func(t *testing.T, w *twin) {
			_, b, _ := w.three()
			client := w.open("client", abc, nil)
			deadline := time.Now().Add(10 * time.Second)
			l := mustLock(t, client, "x", WithTTL(10*time.Second))
			w.isolate(true, false, "client")
			got := make(chan time.Time)
			go func() {
				next := mustLock(t, b, "x")
				at := time.Now()
				mustUnlock(t, next)
				got <- at
			}()
			<-l.Done()
			if d := time.Until(deadline); d != 500*time.Millisecond {
				t.Errorf("told %v before the deadline", d)
			}
			w.isolate(false, false, "client")
			free := deadline
			if time.Now().Add(stops).Before(deadline) {
				time.Sleep(stops)
				free = time.Now()
				if err := l.Unlock(t.Context()); !errors.Is(err, ErrExpired) {
					t.Errorf("Unlock: %v", err)
				}
			}
			if d := (<-got).Sub(free); d < 0 || d > 20*time.Millisecond {
				t.Errorf("the next had it %v after it was free", d)
			}
		})
	}
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
		// A caller that asks for the same locks in another order is not blocked for ever.
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
		l := mustLock(t, a, "x", WithTTL(2*time.Second), WithBearer())
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

// Ten thousand leases share the packets of their renewals, and none is lost.
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

func TestStatsShowWhatIsHeldWaitedForAndLost(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		s := w.open("a", []string{"a"}, func(c *SessionConfig) { c.Node.FirstBoot = false })
		guest := w.open("guest", []string{"a"}, nil)
		if st := s.Stats(); st.Quarantine < 15*time.Second || guest.Stats().Quarantine != 0 {
			t.Errorf("a voter that has started: %+v, no voter: %+v", st, guest.Stats())
		}
		l := mustLock(t, s, "x", WithBearer(), WithTTL(time.Second))
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

// With a MaxTTL below the default TTL, leases without a TTL last MaxTTL.
func TestTheDefaultTTLIsWithinTheLongest(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		s := w.open("a", []string{"a"}, func(c *SessionConfig) { c.Node.MaxTTL = 2 * time.Second })
		if l := mustLock(t, s, "k"); l.ttl != 2*time.Second {
			t.Errorf("a lease lasts %v", l.ttl)
		}
	})
}

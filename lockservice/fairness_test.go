package lockservice

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

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

// A hundred clients want one lock, and each gets it in turn.
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

// If many sessions always want a lock, each of them gets its share.
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

// The callers of one session share its position in the queue. While a caller waits, hardly
// more turns pass than there are callers, whichever peer is the owner.
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

// A caller that gives up leaves its position in the queue to the next caller of its session.
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

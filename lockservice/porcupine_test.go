package lockservice

import (
	"fmt"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// historyStep is an operation of a history: an acquire or the end of a window. A window ends by a
// release, or by an expiry at its deadline in real time.
type historyStep struct {
	acquire bool
	id      int
	token   uint64
}

// mutex is the sequential specification of a lock with fencing tokens.
type mutex struct {
	holder int // ID of the holder, 0 for none
	token  uint64
}

var mutexModel = porcupine.Model{
	Init: func() any { return mutex{} },
	Step: func(state, input, _ any) (bool, any) {
		m, s := state.(mutex), input.(historyStep)
		if s.acquire {
			return m.holder == 0 && s.token > m.token, mutex{s.id, s.token}
		}
		return m.holder == s.id, mutex{0, m.token}
	},
	DescribeOperation: func(input, _ any) string { return fmt.Sprintf("%+v", input) },
}

// history returns two operations for each exclusive window of one lock. The acquire lasts from
// the call to the grant. The end is at the moment when the holder stopped.
func history(w *world, lock string) (ops []porcupine.Operation) {
	for i, win := range w.taken {
		if win.lock != lock || win.mode != Exclusive {
			continue
		}
		ops = append(ops,
			porcupine.Operation{ClientId: i, Input: historyStep{true, i + 1, win.token}, Call: int64(win.asked), Return: int64(win.granted)},
			porcupine.Operation{ClientId: i, Input: historyStep{false, i + 1, 0}, Call: int64(win.left), Return: int64(win.left)})
	}
	return ops
}

// Porcupine, a checker that knows nothing of leases, accepts the histories of grants as those
// of a mutex.
func TestHistoriesAreThoseOfAMutex(t *testing.T) {
	total := 0
	for seed := range uint64(12) {
		w := newWorld(seed, func(p *plan) { p.shared, p.keep, p.bearers = false, false, false })
		w.keep = true
		w.run(20_000)
		if len(w.faults) > 0 {
			t.Fatal(w.faults[0])
		}
		for _, who := range sortedWindows(w) {
			win := w.open[who]
			win.left = win.end
			w.taken = append(w.taken, win)
		}
		for _, lock := range w.locks {
			ops := history(w, lock)
			total += len(ops)
			if len(ops) > 5000 {
				t.Fatalf("%d operations", len(ops))
			}
			if got := porcupine.CheckOperationsTimeout(mutexModel, ops, 20*time.Second); got != porcupine.Ok {
				t.Errorf("seed %d, %s: %v", seed, lock, got)
			}
			if len(ops) > 4 { // a holder stayed until after the next grant
				ops[1].Call, ops[1].Return = 1<<60, 1<<60
				if got := porcupine.CheckOperationsTimeout(mutexModel, ops, 20*time.Second); got != porcupine.Illegal {
					t.Errorf("seed %d: a lock held twice is %v", seed, got)
				}
			}
		}
	}
	if total < 500 {
		t.Errorf("only %d operations", total)
	}
}

func sortedWindows(w *world) (list []openHold) {
	for _, p := range w.peers {
		for _, id := range sortedKeys(p.calls) {
			if who := (openHold{p.name, p.boot, id}); w.open[who] != nil {
				list = append(list, who)
			}
		}
	}
	return list
}

// A clock that stands still breaks the promise of one holder, as the package's comment says.
// The checker reports it, and a guard at the resource still refuses the old holder's writes.
func TestAFrozenClockIsStoppedByItsToken(t *testing.T) {
	for seed := range uint64(200) {
		w := newWorld(seed, func(p *plan) {
			p.frozen, p.calm, p.shared, p.keep, p.locks, p.clients, p.loss = true, true, false, true, 1, 2, 0
		})
		w.run(20_000)
		if len(w.faults) == 0 {
			continue
		}
		high := uint64(0) // highest token that the resource has seen; every holder writes when it gets the lock
		var last *window
		for _, win := range w.open {
			if high < win.token {
				high, last = win.token, win
			}
		}
		stale := 0
		for _, win := range w.open {
			if win != last && win.token < high {
				stale++
			}
		}
		if stale == 0 {
			t.Fatalf("seed %d: %s: but no holder is refused", seed, w.faults[0])
		}
		return
	}
	t.Fatal("the checker does not notice a frozen clock")
}

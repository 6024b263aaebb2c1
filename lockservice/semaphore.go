package lockservice

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
)

// Semaphore lets a bounded number of callers hold a name at a time. Each of them holds one of
// its slots, which are the locks name#0, name#1 and so on. Voters that counted permits would
// not do: with three voters and two permits, each of three holders can have two voters.
type Semaphore struct {
	s     *Session
	name  string
	slots int
}

// Semaphore returns the semaphore of a name with 1 to MaxSlots slots, or a *NameError. All peers
// must use the same number.
func (s *Session) Semaphore(name string, slots int) (*Semaphore, error) {
	if err := validateName(name); err != nil {
		return nil, err
	}
	if slots < 1 || slots > MaxSlots {
		return nil, &NameError{name, fmt.Sprintf("a semaphore of %d slots; allowed are 1 to %d", slots, MaxSlots)}
	}
	return &Semaphore{s, name, slots}, nil
}

func (m *Semaphore) slot(i int) string { return fmt.Sprintf("%s#%d", m.name, i%m.slots) }

// TryLock takes a free slot, or fails with ErrHeld if there is none. Tokens rise for each slot
// separately: use Lease.Name, which names the slot, as the fenced resource.
func (m *Semaphore) TryLock(ctx context.Context, opts ...Option) (*Lease, error) {
	first := rand.IntN(m.slots)
	var err error
	for i := range m.slots {
		var l *Lease
		l, err = m.s.acquire(ctx, m.s.cfg.call(m.slot(first+i), true, opts))
		if err == nil || !errors.Is(err, ErrHeld) {
			return l, err
		}
	}
	return nil, err
}

// Lock waits for a slot. It queues for all slots at once, keeps the first that it gets and releases
// any other.
func (m *Semaphore) Lock(ctx context.Context, opts ...Option) (*Lease, error) {
	ctx, done := m.s.cfg.bound(ctx)
	defer done()
	if l, err := m.TryLock(ctx, opts...); err == nil || !errors.Is(err, ErrHeld) {
		return l, err
	}
	all, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	var once sync.Once
	var won *Lease
	errs := make([]error, m.slots)
	for i := range m.slots {
		wg.Go(func() {
			l, err := m.s.acquire(all, m.s.cfg.call(m.slot(i), false, opts))
			if err != nil {
				errs[i] = err
				return
			}
			first := false
			once.Do(func() { won, first = l, true })
			cancel()
			if !first {
				UnlockEach([]*Lease{l})
			}
		})
	}
	wg.Wait()
	if won != nil {
		return won, nil
	}
	return nil, errs[0]
}

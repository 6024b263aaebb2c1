package lockservice

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
)

// Semaphore lets up to so many hold a name at a time. Each of them holds one of its
// slots, which are locks of their own, name#0, name#1 and so on: permits counted
// per voter would not do, for with three voters and two permits three holders can
// have two voters each.
type Semaphore struct {
	s     *Session
	name  string
	slots int
}

// Semaphore returns the semaphore of a name with 1 to MaxSlots slots. All must agree
// on their number.
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

// TryLock takes a free slot, or fails with ErrHeld if there is none. Its token is
// that of the slot, which Lease.Name names: fence each slot for itself.
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

// Lock waits for a slot: in the queues of all, and keeps the first that comes.
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

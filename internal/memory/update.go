package memory

import (
	"context"
	"errors"
	"reflect"
	"runtime"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// ErrInUpdate is the error of Update if its function has called a peer.
var ErrInUpdate = errors.New("the function called a peer, whose lock is held meanwhile; it may only use its transaction")

// Update calls decide with the lock held and with an empty batch, and makes what decide has added
// to it as Write does, or nothing if decide fails or panics. It waits, within ctx, as Write does
// before it calls decide. If decide calls a method of m that takes the lock, the method does not
// return, and Update fails with ErrInUpdate. The other errors are those of decide, and of Write.
func (m *Memory) Update(ctx context.Context, decide func(b *crdt.Batch) (Manner, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := m.lockWithRoom(ctx); err != nil {
		return err
	}
	err := m.decide(decide)
	if err == nil {
		m.Signal()
	}
	return err
}

// decide does what Update says, and releases the lock, which the caller holds.
func (m *Memory) decide(f func(b *crdt.Batch) (Manner, error)) (err error) {
	defer m.mu.Unlock()
	m.updating.Store(true)
	defer m.updating.Store(false)
	defer func() {
		switch p := recover(); p {
		case nil:
		case ErrInUpdate:
			err = ErrInUpdate
		default:
			panic(p)
		}
	}()
	now := time.Now()
	var how Manner
	var ops []crdt.Op
	_, err = m.replica.Update(now, func(b *crdt.Batch) (urgent bool, err error) {
		how, err = f(b)
		ops = b.Ops()
		return how.Urgent, err
	})
	if err == nil {
		m.wrote(now, how, ops)
	}
	return err
}

// lock takes the lock. It panics with ErrInUpdate in a function of Update, which would wait for
// itself.
func (m *Memory) lock() {
	if !m.mu.TryLock() {
		m.Forbid()
		m.mu.Lock()
	}
}

// Forbid panics with ErrInUpdate if a function of Update has called the caller. Whoever waits for
// the owner, which needs the lock, calls Forbid before.
func (m *Memory) Forbid() {
	if m.updating.Load() && insideUpdate() {
		panic(ErrInUpdate)
	}
}

var decideName = runtime.FuncForPC(reflect.ValueOf((*Memory).decide).Pointer()).Name()

// insideUpdate reports whether decide is on the stack, for this Memory or another: two functions of
// Update that call each other's peers would wait for each other.
func insideUpdate() bool {
	for n := 64; ; n *= 4 {
		pcs := make([]uintptr, n)
		found := runtime.Callers(0, pcs)
		frames := runtime.CallersFrames(pcs[:found])
		for more := true; more; {
			var f runtime.Frame
			if f, more = frames.Next(); f.Function == decideName {
				return true
			}
		}
		if found < n {
			return false
		}
	}
}

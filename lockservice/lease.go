package lockservice

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Lease is a lock that is held. It is renewed by itself until Unlock, unless it was
// asked for with WithManualRenewal, or resumed.
type Lease struct {
	s      *Session
	id     uint64
	name   string
	inst   Inst
	token  uint64
	ttl    time.Duration
	manual bool
	mode   Mode
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	left   chan struct{} // closed when Unlock is decided
	result error         // of Unlock, before left is closed

	leaving bool // guarded by Session.mu: Unlock was called

	mu       sync.Mutex // guards what follows; taken after Session.mu, if both
	deadline time.Duration
	round    uint64 // the latest that extended it
	over     bool
	renewed  chan struct{} // closed when the lease is extended or ends; nil if nobody waits for it
}

// hold makes a lease of a grant. It is called with Session.mu held.
func (s *Session) hold(w *caller, r Result) *Lease {
	l := &Lease{s: s, id: r.ID, name: w.Lock, inst: r.Inst, token: r.Token, ttl: w.TTL, manual: w.Manual, mode: w.Mode,
		deadline: r.Deadline, left: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancelCause(context.WithoutCancel(w.ctx))
	l.mu.Lock()
	l.timer = time.AfterFunc(l.remaining(), l.check)
	l.mu.Unlock()
	s.leases[l.id] = l
	return l
}

// margin is how long before its deadline a lease ends for its holder, who needs time
// to stop.
func (l *Lease) margin() time.Duration { return max(l.ttl/20, 50*time.Millisecond) }

// extend moves the deadline; the timer comes at the old one and goes on. It is called
// with Session.mu held.
func (l *Lease) extend(deadline time.Duration, round uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	left, more := l.remaining(), max(deadline-l.deadline, 0)
	if l.over || left <= 0 { // never again
		return
	}
	l.deadline, l.round = l.deadline+more, max(l.round, round)
	l.tell()
}

// renewal returns what is closed when the lease is extended or ends. It is called with
// mu held.
func (l *Lease) renewal() <-chan struct{} {
	if l.renewed == nil {
		l.renewed = make(chan struct{})
		if l.over {
			close(l.renewed)
		}
	}
	return l.renewed
}

func (l *Lease) tell() {
	if l.renewed != nil {
		close(l.renewed)
		l.renewed = nil
	}
}

// check ends the lease when its time has come, whatever the network does.
func (l *Lease) check() {
	l.mu.Lock()
	left := l.remaining()
	if left > 0 && !l.over {
		l.timer.Reset(left)
	}
	l.mu.Unlock()
	if left > 0 {
		return
	}
	l.s.do(func(t Time) {
		l.end(&LostError{Lock: l.name, Token: l.token, Cause: ErrExpired})
		if l.s.leases[l.id] == l {
			delete(l.s.leases, l.id)
			if l.manual {
				l.s.node.Leave(l.id) // its bearer may have gone on elsewhere
			} else {
				_ = l.s.node.Release(t, l.id)
			}
		}
	})
}

// end marks the lease as over, for good, and says why.
func (l *Lease) end(cause error) {
	l.mu.Lock()
	first := !l.over
	l.over = true
	if first {
		l.timer.Stop()
		l.tell()
	}
	l.mu.Unlock()
	if !first {
		return
	}
	l.cancel(cause)
	if lost, ok := errors.AsType[*LostError](cause); ok && !errors.Is(cause, ErrReleased) { // a bearer's release is no loss
		l.s.lost.Add(1)
		if tell := l.s.cfg.Lost; tell != nil {
			l.s.losses.Do(func() { tell(lost) })
		}
	}
}

// ID names a lease that is renewed by hand, for [Session.Resume] at every peer: who has
// it may renew and release the lease, and nobody can guess it. Of others it is "".
func (l *Lease) ID() string {
	if !l.manual {
		return ""
	}
	return Bearer{Lock: l.name, Inst: l.inst, Mode: l.mode, TTL: l.ttl, Token: l.token}.ID()
}

// Name returns what is locked.
func (l *Lease) Name() string { return l.name }

// Token returns the fencing token, greater than that of every holder before. Give it
// to whatever is written under the lease; see package fence.
func (l *Lease) Token() uint64 { return l.token }

// Mode returns how the lock is held.
func (l *Lease) Mode() Mode { return l.mode }

// Guarantee returns what the lease is worth.
func (l *Lease) Guarantee() Guarantee { return l.s.Guarantee() }

// Context is cancelled when the lease ends, a little before its deadline. Its cause
// is a *LostError, or context.Canceled after Unlock. It carries the values of the
// context that asked, not its deadline.
func (l *Lease) Context() context.Context { return l.ctx }

// Done is closed when the lease ends, and never opens again.
func (l *Lease) Done() <-chan struct{} { return l.ctx.Done() }

// Err returns nil while the lease is held, then why it ended.
func (l *Lease) Err() error { return context.Cause(l.ctx) }

// Remaining returns how long the lease is held without another renewal, 0 once it is
// over. It asks this peer's clock only, which runs on through suspend, so it is
// right before Done is closed, too.
func (l *Lease) Remaining() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return 0
	}
	return max(l.remaining(), 0)
}

func (l *Lease) remaining() time.Duration { return l.deadline - l.margin() - l.s.cfg.Clock() }

// Renew extends the lease now and waits for it.
func (l *Lease) Renew(ctx context.Context) error {
	ctx, cancel := l.s.cfg.bound(ctx)
	defer cancel()
	l.mu.Lock()
	renewed := l.renewal()
	l.mu.Unlock()
	var err error
	l.s.do(func(t Time) { err = l.s.node.Renew(t, l.id) })
	if l.ctx.Err() != nil {
		return l.Err()
	}
	if err != nil {
		return err
	}
	select {
	case <-renewed:
		return l.Err()
	case <-ctx.Done():
		l.s.do(func(Time) { err = l.s.node.Obstacle(l.id) })
		return timeout(ctx, l.name, err)
	}
}

// Unlock ends the lease and waits until a majority of voters knows. It may be called
// many times and all get one answer: nil, or a *LostError if the lease had ended
// before, or ErrUnavailable if ctx or the TTL passed first. Whatever it returns, the
// lease is over; what the voters do not know, they forget after the TTL.
func (l *Lease) Unlock(ctx context.Context) error {
	l.s.leaveEach([]*Lease{l})
	ctx, cancel := l.s.cfg.bound(ctx)
	defer cancel()
	select {
	case <-l.left:
		return l.result
	case <-ctx.Done():
		e := &UnavailableError{Lock: l.name, Cause: context.Cause(ctx)}
		l.s.do(func(Time) { e.Reachable, e.Needed = l.s.node.Quorum() })
		return e
	}
}

// leaveEach starts an Unlock of each lease for which that was not done before.
func (s *Session) leaveEach(leases []*Lease) {
	s.do(func(t Time) {
		for _, l := range leases {
			if l.leaving {
				continue
			}
			l.leaving = true
			held := s.leases[l.id] == l
			delete(s.leases, l.id)
			l.end(context.Canceled)
			if !held || s.node.Release(t, l.id) != nil {
				l.result = l.Err()
				close(l.left)
				continue
			}
			s.leaving[l.id] = l
			s.pending[l.id] = func(_ Time, r Result) {
				delete(s.leaving, l.id)
				l.result = r.Err
				close(l.left)
			}
		}
	})
}

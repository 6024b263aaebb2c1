package lockservice

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Lease is a lock that is held. The session renews it until Unlock, unless it was acquired with
// WithBearer or resumed. All methods may be called at the same time.
type Lease struct {
	s      *Session
	id     uint64
	name   string
	inst   Inst
	token  uint64
	ttl    time.Duration
	bearer bool // the lease is a bearer's: the session does not renew it
	mode   Mode
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	left   chan struct{} // closed when the release is confirmed or has failed
	result error         // result of Unlock; written before left is closed

	leaving bool // Unlock was called; guarded by Session.mu

	mu      sync.Mutex    // guards the fields below; Session.mu, if needed as well, is taken first
	ends    time.Duration // when it ends, by the session's clock
	round   uint64        // number of the latest round that extended the lease
	over    bool
	renewed chan struct{} // closed when the lease is extended or ends; nil if no goroutine waits for it
}

// hold makes the lease of a grant. The caller holds Session.mu.
func (s *Session) hold(w *caller, r Result) *Lease {
	l := &Lease{s: s, id: r.ID, name: w.Lock, inst: r.Inst, token: r.Token, ttl: w.TTL, bearer: w.Bearer, mode: w.Mode,
		ends: r.End, left: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancelCause(context.WithoutCancel(w.ctx))
	l.mu.Lock()
	l.timer = time.AfterFunc(l.remaining(), l.check)
	l.mu.Unlock()
	s.leases[l.id] = l
	return l
}

// extend moves the end of the lease. It leaves the timer as it is: check, which the timer calls at
// the old end, sets it again. The caller holds Session.mu.
func (l *Lease) extend(ends time.Duration, round uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return
	}
	l.ends, l.round = max(l.ends, ends), max(l.round, round)
	l.tell()
}

// renewal returns a channel that is closed when the lease is extended or ends. The caller holds mu.
func (l *Lease) renewal() <-chan struct{} {
	if l.renewed == nil {
		l.renewed = make(chan struct{})
		if l.over {
			close(l.renewed)
		}
	}
	return l.renewed
}

// tell wakes the goroutines that wait for an extension or the end. The caller holds mu.
func (l *Lease) tell() {
	if l.renewed != nil {
		close(l.renewed)
		l.renewed = nil
	}
}

// check runs on the lease's timer. If the time of the lease is over it has the node end it, and
// else sets the timer again. It needs no message, so a holder that is cut off stops in time.
func (l *Lease) check() {
	if l.Remaining() == 0 {
		l.s.do(l.s.node.Tick)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over { // it was extended
		l.timer.Reset(max(l.remaining(), 0))
	}
}

// lose ends the lease because of cause, without an Unlock. This peer cannot know whether a bearer has
// renewed or released its lease at another peer.
func (l *Lease) lose(cause error) {
	if l.bearer && errors.Is(cause, ErrExpired) {
		cause = ErrLapsed
	}
	l.end(&LostError{Lock: l.name, Token: l.token, Cause: cause})
}

// end marks the lease as over and cancels its context with cause. Only the first call counts.
func (l *Lease) end(cause error) {
	l.mu.Lock()
	first := !l.over
	if first {
		l.cancel(cause) // before anybody can see that it is over, and would find no cause
		l.over = true
		l.timer.Stop()
		l.tell()
	}
	l.mu.Unlock()
	if !first {
		return
	}
	lost, ok := errors.AsType[*LostError](cause)
	switch {
	case !ok, errors.Is(cause, ErrReleased), l.bearer && errors.Is(cause, ErrClosed): // its bearer released it, or goes on at another peer
		return
	case errors.Is(cause, ErrLapsed):
		l.s.lapsed.Add(1)
	default:
		l.s.lost.Add(1)
	}
	if tell := l.s.cfg.Lost; tell != nil {
		l.s.losses.Do(func() { tell(lost) })
	}
}

// ID returns the secret that identifies a bearer's lease to [Session.Resume] at every
// peer: whoever has it may renew and release the lease, and nobody can guess it. It is ""
// for a lease that the session renews.
func (l *Lease) ID() string {
	if !l.bearer {
		return ""
	}
	return Bearer{Lock: l.name, Inst: l.inst, Mode: l.mode, TTL: l.ttl, Token: l.token}.ID()
}

// Name returns what is locked.
func (l *Lease) Name() string { return l.name }

// Token returns the fencing token, 1 to MaxToken, which is greater than that of every earlier
// holder. Pass it along with every write to the protected resource; see package fence.
func (l *Lease) Token() uint64 { return l.token }

// Mode returns how the lock is held.
func (l *Lease) Mode() Mode { return l.mode }

// Guarantee returns what the session guarantees of its leases.
func (l *Lease) Guarantee() Guarantee { return l.s.Guarantee() }

// Context returns a context that is cancelled when the lease ends. If it ends because its time runs
// out, the voters let no other in for a margin of a twentieth of the TTL, or 50 ms if that
// is more, or until Unlock says that the holder has stopped. The cause of the context is a
// *LostError, or context.Canceled after Unlock. It has the values of the context with
// which the lease was acquired, and not its deadline.
func (l *Lease) Context() context.Context { return l.ctx }

// Done returns a channel that is closed when the lease ends.
func (l *Lease) Done() <-chan struct{} { return l.ctx.Done() }

// Err returns nil while the lease is held, then why it ended.
func (l *Lease) Err() error { return context.Cause(l.ctx) }

// Remaining returns how long the lease lasts without another renewal, 0 once it is over. It reads
// only this peer's clock, which goes on while the machine is suspended: after a suspend it is
// right even before Done is closed.
func (l *Lease) Remaining() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return 0
	}
	return max(l.remaining(), 0)
}

func (l *Lease) remaining() time.Duration { return l.ends - l.s.cfg.Clock() }

// Renew extends the lease by its TTL from now and waits until a majority has certified that. It
// fails with a *LostError, ErrNotHolder, or, when ctx ends first, ErrTimeout or ErrUnavailable;
// a ctx without a deadline gets SessionConfig.MaxWait. After ErrTimeout and ErrUnavailable
// the lease runs on until its deadline.
func (l *Lease) Renew(ctx context.Context) error {
	ctx, cancel := l.s.cfg.bound(ctx)
	defer cancel()
	var round uint64
	var err error
	l.s.do(func(t Time) { round, err = l.s.node.Confirm(t, l.id) })
	if l.ctx.Err() != nil {
		return l.Err()
	}
	if err != nil {
		return err
	}
	err = l.confirmed(ctx, round) // an answer to an earlier round says nothing of now
	if errors.Is(err, ErrTimeout) {
		l.s.do(func(Time) { err = l.s.node.Obstacle(l.id) })
		return timeout(ctx, l.name, err)
	}
	return err
}

// Unlock ends the lease and waits until a majority of voters has removed its record. It may be
// called any number of times. It returns nil, a *LostError if the lease had ended before, or
// ErrUnavailable if ctx or the TTL ended first. Whatever it returns, the lease is over;
// records that are left expire with the TTL.
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

// leaveEach starts the release of each lease on which Unlock was not called before.
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
			released := !s.over && s.node.Release(t, l.id) == nil
			if !held || !released {
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

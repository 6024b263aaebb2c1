package lockservice

import (
	"context"
	"fmt"
)

// Resume returns the lease on name with this ID and extends it. The lease may be one of this
// session, or one of another peer or an earlier process that a majority of voters has on
// record. It keeps its token and its TTL, and is a bearer's lease. The other peer is not
// told, and may be gone; an Unlock at any peer ends the lease at all of them. Resume fails
// with ErrNotHolder if the lease was released or has run out, or if too many of the voters
// that had it on record have restarted. Its other errors are those of Lock. WithClient is
// the only option that counts.
func (s *Session) Resume(ctx context.Context, name, id string, opts ...Option) (*Lease, error) {
	b, ok := ParseBearer(name, id)
	closed := false
	if s.do(func(Time) { closed = s.closed }); closed {
		return nil, ErrClosed
	}
	if !ok {
		return nil, fmt.Errorf("lock %q: %w: %q is the ID of no lease", name, ErrNotHolder, id)
	}
	if err := validateName(name); err != nil {
		return nil, err
	}
	client := s.cfg.call(name, false, opts).Client
	if err := validateClient(client); err != nil {
		return nil, fmt.Errorf("lock %q: %w", name, err)
	}
	for {
		l, other, err := s.resume(ctx, b, client)
		if other == nil {
			return l, err
		}
		select {
		case <-other:
		case <-ctx.Done():
			return nil, timeout(ctx, name, nil)
		}
	}
}

// resume makes one attempt of Resume. If another call is resuming the lease already, it returns
// only a channel that is closed when that call has its answer.
func (s *Session) resume(ctx context.Context, b Bearer, client string) (l *Lease, other <-chan struct{}, err error) {
	ctx, cancel := s.cfg.bound(ctx)
	defer cancel()
	w := &caller{Call: Call{Lock: b.Lock, Mode: b.Mode, TTL: b.TTL, Bearer: true}, ctx: ctx}
	var answer struct { // guarded by Session.mu until decided is closed
		lease *Lease
		err   error
	}
	decided := make(chan struct{})
	s.do(func(t Time) {
		if err = ErrClosed; s.closed {
			return
		}
		if w.id, err = s.node.Resume(t, b, client); err != nil {
			return
		}
		if l, other = s.leases[w.id], s.resumes[w.id]; l != nil || other != nil {
			return
		}
		s.resumes[w.id] = decided
		s.pending[w.id] = func(_ Time, r Result) {
			if answer.err = r.Err; r.Err == nil {
				answer.lease = s.hold(w, r)
			}
			delete(s.resumes, w.id)
			close(decided)
		}
	})
	switch {
	case err != nil, other != nil:
		return nil, other, err
	case l != nil:
		return l, nil, l.Renew(ctx)
	}
	select {
	case <-decided:
		return answer.lease, nil, answer.err
	case <-ctx.Done():
	}
	s.do(func(t Time) {
		if s.pending[w.id] == nil {
			return // decided meanwhile
		}
		answer.err = timeout(ctx, b.Lock, s.node.Obstacle(w.id))
		_ = s.node.Release(t, w.id)
		delete(s.pending, w.id)
		delete(s.resumes, w.id)
		close(decided)
	})
	return answer.lease, nil, answer.err
}

package hold

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
)

// heldLease is a lease on a lock or an item that a daemon holds for this process.
type heldLease struct {
	*client.Client
	method, path string // that renew it
	proof        []byte // that it is ours: the body of what renews or ends it
	ttl          time.Duration
	deadline     time.Duration // by boottime: until then it is held, whatever happens
}

// errEnded says that the lease is over before its deadline.
var errEnded = errors.New("the daemon has ended it")

// endedCodes are those of problems that say so.
var endedCodes = []string{"not-holder", "lease-lost", "claim-lost"}

// renew extends the lease. What the daemon says remains counts from before it was
// asked: it may have answered late, but not early.
func (l *heldLease) renew(ctx context.Context) error {
	sent := boottime()
	var answer struct{ Remaining api.Duration }
	if err := l.Do(ctx, l.method, l.path, nil, l.proof, nil, &answer); err != nil {
		if refused, ok := errors.AsType[*client.Refusal](err); ok && slices.Contains(endedCodes, refused.Code) {
			return fmt.Errorf("%w: %w", errEnded, err)
		}
		return err
	}
	l.deadline = max(l.deadline, sent+time.Duration(answer.Remaining))
	return nil
}

// keep renews the lease every third of its TTL, and more often when that fails. It
// returns why the lease is over, or nil when ctx ends first.
func (l *heldLease) keep(ctx context.Context) error {
	var failed error
	next := l.ttl / 3
	for {
		if err := l.rest(ctx, next); err != nil || ctx.Err() != nil {
			return l.over(ctx, failed)
		}
		asking, cancel := context.WithTimeout(ctx, min(l.ttl/3, l.deadline-boottime()))
		err := l.renew(asking)
		cancel()
		_, answered := errors.AsType[*client.Refusal](err)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errEnded):
			return err
		case err == nil:
			failed, next = nil, l.ttl/3
			continue
		case answered, failed == nil: // what a daemon has said tells more than that the next was silent
			failed = err
		}
		next = l.ttl / 20
	}
}

var errDeadline = errors.New("its time is over")

// rest waits for so long, or fails when the deadline comes first. Timers stand still
// while the machine is suspended, the deadline does not: so it looks every second.
func (l *heldLease) rest(ctx context.Context, pause time.Duration) error {
	for end := boottime() + pause; ; {
		now := boottime()
		if now >= l.deadline {
			return errDeadline
		}
		if now >= end {
			return nil
		}
		select {
		case <-time.After(min(end-now, l.deadline-now, time.Second)):
		case <-ctx.Done():
			return nil
		}
	}
}

// over says why the lease is over, nil if ctx ended before it.
func (l *heldLease) over(ctx context.Context, failed error) error {
	if ctx.Err() != nil {
		return nil
	}
	if failed == nil {
		failed = errors.New("this process was stopped")
	}
	return fmt.Errorf("%w: %w", errDeadline, failed)
}

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
	method, path string // the request that renews the lease
	proof        []byte // the body of a request that renews or ends it, which names the lease
	ttl          time.Duration
	deadline     time.Duration // by boottime; the lease is held until then at least
}

// errEnded means that the daemon has ended the lease, perhaps before its deadline.
var errEnded = errors.New("the daemon has ended it")

// endedCodes are the codes of problems that mean the same.
var endedCodes = []string{"not-holder", "lease-lost", "claim-lost"}

// renew extends the lease. The remaining time counts from before the request was sent: the
// answer may have come late, but not early.
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

// keep renews the lease every third of its TTL, and more often after a failure. It returns why
// the lease is over, or nil when ctx ends first.
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
		case answered, failed == nil: // the answer of a daemon explains more than a later silence
			failed = err
		}
		next = l.ttl / 20
	}
}

var errDeadline = errors.New("its time is over")

// rest waits for a pause, and fails when the deadline comes first. Timers stand still while the
// machine is suspended but the deadline does not, so the clock is read every second.
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

// over returns why the lease is over, nil if ctx ended first.
func (l *heldLease) over(ctx context.Context, failed error) error {
	if ctx.Err() != nil {
		return nil
	}
	if failed == nil {
		failed = errors.New("this process was stopped")
	}
	return fmt.Errorf("%w: %w", errDeadline, failed)
}

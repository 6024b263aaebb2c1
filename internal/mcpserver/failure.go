package mcpserver

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// failure is an error as an agent sees it.
type failure struct {
	Code    string // stable, that of the HTTP API where it has one
	Text    string
	Hint    string   // what to do next
	Current string   // version of the key, of a conflict
	Holders []fields // of a lock
}

// Error returns the text.
func (f *failure) Error() string { return f.Text }

func (f *failure) fields() fields {
	out := fields{"error", f.Text, "code", f.Code}
	if f.Current != "" {
		out = append(out, "current_version", f.Current)
	}
	if f.Holders != nil {
		out = append(out, "holders", f.Holders)
	}
	if f.Hint != "" {
		out = append(out, "hint", f.Hint)
	}
	return out
}

// explain says what went wrong and what to do about it.
func explain(err error) *failure {
	f := &failure{Code: "internal", Text: shorten(strings.ToValidUTF8(api.Text(err), "\uFFFD"), 4<<10), Hint: "this is a fault of the daemon; see its log"}
	if own, ok := errors.AsType[*failure](err); ok {
		return own
	}
	if conflict, ok := errors.AsType[*crdt.ConflictError](err); ok {
		f.Code, f.Current = "version-conflict", conflict.Have.String()
		f.Hint = "another writer came first: retrieve the key, merge your change, and store it with if_version of what you read"
		return f
	}
	if lacking, ok := errors.AsType[*api.ForbiddenError](err); ok {
		f.Code = "forbidden"
		f.Hint = fmt.Sprintf("your token does not allow this; use a key it covers, or ask the operator for the right %s", lacking.Missing)
		return f
	}
	for _, k := range kinds {
		if k.is(err) {
			f.Code, f.Hint = k.code, k.hint
			return f
		}
	}
	return f
}

func of[E error](err error) bool { _, ok := errors.AsType[E](err); return ok }

func is(targets ...error) func(error) bool {
	return func(err error) bool {
		for _, t := range targets {
			if errors.Is(err, t) {
				return true
			}
		}
		return false
	}
}

func isOwnShare(err error) bool {
	limit, ok := errors.AsType[*api.LimitError](err)
	return ok && limit.Own
}

// kinds are the errors an agent can do something about; the first that fits counts.
var kinds = []struct {
	is         func(error) bool
	code, hint string
}{
	{of[*api.BadRequest], "bad-request", "correct the arguments and call again"},
	{of[*crdt.OrderError], "bad-request", "put the conditions on a key before the other operations on it"},
	{of[*crdt.KeyError], "bad-key", "choose another key: up to 1,000 bytes, segments separated by '/', none empty, '.' or '..', no control characters"},
	{of[*wire.ValueError], "bad-value", "store a smaller or simpler value: up to 1 MiB, 32 levels deep, integers of 64 bits; split what is larger over several keys"},
	{of[*crdt.TypeError], "wrong-type", "the key holds another type: retrieve it to see which, give a value that fits it, or pass type to make it another"},
	{is(agent.ErrClosed, lockservice.ErrClosed), "closed", "the daemon is stopping; try again in a few seconds"},
	{is(agent.ErrClaimLost), "claim-lost", "the claim has ended and someone else may have the task: drop the work, and call task_claim for another"},
	{is(agent.ErrDraining), "draining", "the queue takes no more tasks; ask the operator to resume it, or use another queue"},
	{of[*crdt.FullError], "store-full", "delete what is not needed any more, or store something shorter; the operator can raise --max-memory"},
	{is(agent.ErrRotated), "rotated", "it is written here and goes on spreading; which peers have it is not known: a copy of the daemon runs, tell the operator"},
	{is(agent.ErrQueueFull), "queue-full", "complete tasks first, then add more"},
	{is(lockservice.ErrHeld, lockservice.ErrTimeout), "held", "another holds the lock: do other work and try again, or wait with wait_s; go on without it only if that does no harm"},
	{is(lockservice.ErrNotHolder, lockservice.ErrLost), "not-holder", "the lease has ended: stop what it protected, and call lock_acquire again"},
	{is(lockservice.ErrBarred), "barred", "the task is done, or is to be tried later: call task_claim for one that may be claimed"},
	{is(lockservice.ErrUnavailable, lockservice.ErrConfigMismatch), "no-majority", "too few voters are within reach to decide this; memory still works; see cluster_status and try again later"},
	{isOwnShare, "too-many-requests", "you have all that one client may have: release locks that you do not need, and try again"},
	{of[*api.LimitError], "busy", "clients of the daemon have all that it has to give; try again later"},
	{is(lockservice.ErrFull), "locks-full", "release locks that you do not need, and try again"},
	{is(lockservice.ErrName), "bad-lock-name", "choose another name for the lock"},
	{is(agent.ErrNotFound), "not-found", "nothing is there; list or search to see what is"},
	{is(agent.ErrClockSkew), "clock-skew", "the clock of the daemon's host is wrong; tell the operator"},
	{of[*agent.ReplicationError], "not-replicated", "it is written here and goes on spreading"},
	{is(context.DeadlineExceeded, context.Canceled), "timeout", "try again, with less at once"},
}

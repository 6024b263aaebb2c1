package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// Fault is what a caller is told about an error.
type Fault struct {
	Code   string // a stable name
	Status int    // the HTTP status
	Hint   string // what an agent should do next
}

// FaultOf returns the fault of an error. An error of no known kind is a fault of the daemon.
func FaultOf(err error) Fault {
	for _, k := range faults {
		if k.is(err) {
			return k.Fault
		}
	}
	return Fault{"internal", http.StatusInternalServerError, "this is a fault of the daemon; see its log"}
}

// Current returns the version that the key of a conflict has; false for any other error.
func Current(err error) (crdt.Version, bool) {
	if c, ok := errors.AsType[*crdt.ConflictError](err); ok {
		return c.Have, true
	}
	if c, ok := errors.AsType[*ConditionError](err); ok {
		return c.Have, true
	}
	return 0, false
}

// ExitCode returns the exit code of a command to which the API answered with a status.
func ExitCode(status int) int {
	switch status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		return ExitUsage
	case http.StatusNotFound:
		return ExitNotFound
	case http.StatusConflict, http.StatusPreconditionFailed:
		return ExitConflict
	case http.StatusUnauthorized, http.StatusForbidden:
		return ExitNotAllowed
	case http.StatusGatewayTimeout, http.StatusTooManyRequests:
		return ExitTimeout
	case http.StatusServiceUnavailable, http.StatusInsufficientStorage:
		return ExitUnhealthy
	}
	return ExitOther
}

// These are the exit codes of the commands; docs/cli.md says what they mean.
const (
	ExitOther       = 1
	ExitUsage       = 2
	ExitNotFound    = 3
	ExitConflict    = 4
	ExitNotAllowed  = 5
	ExitUnreachable = 6
	ExitTimeout     = 7
	ExitUnhealthy   = 8
)

// faults lists the errors about which a caller can do something. The first that matches counts.
// The table in docs/http.md has the same codes.
var faults = []struct {
	is func(error) bool
	Fault
}{
	{of[*crdt.KeyError], Fault{"bad-key", http.StatusBadRequest,
		"choose another key: up to 1,000 bytes, segments separated by '/', none empty, '.' or '..', no control characters"}},
	{of[*wire.ValueError], Fault{"bad-value", http.StatusBadRequest,
		"store a smaller or simpler value: up to 1 MiB, 32 levels deep, integers of 64 bits; split a larger one over several keys"}},
	{of[*BadRequest], Fault{"bad-request", http.StatusBadRequest, "correct the arguments and call again"}},
	{of[*crdt.OrderError], Fault{"bad-request", http.StatusBadRequest, "put the conditions on a key before the other operations on it"}},
	{of[*ForbiddenError], Fault{"forbidden", http.StatusForbidden,
		"your token does not allow this; use a key that it covers, or ask the operator for the missing right"}},
	{ownShare, Fault{"too-many-requests", http.StatusTooManyRequests,
		"you have the most that one client may have: release locks that you do not need, and try again"}},
	{of[*LimitError], Fault{"busy", http.StatusServiceUnavailable, "the daemon's clients use all of its capacity; try again later"}},
	{of[*crdt.TypeError], Fault{"wrong-type", http.StatusConflict,
		"the key holds another type: read it to see which; store a value that fits, or pass type to change the type"}},
	{conflicted, Fault{"version-conflict", http.StatusPreconditionFailed,
		"another writer came first: read the key, merge your change, and store it with the version you read as if_version"}},
	{of[*crdt.FullError], Fault{"store-full", http.StatusInsufficientStorage,
		"delete what is not needed any more, or store something shorter; the operator can raise --max-memory"}},
	{of[*agent.ReplicationError], Fault{"not-replicated", http.StatusGatewayTimeout, "the write is made here and goes on spreading; do not repeat it"}},
	{is(agent.ErrRotated), Fault{"rotated", http.StatusGatewayTimeout,
		"the write is made here and goes on spreading, but which peers have it is not known: a second daemon runs with this one's identity; tell the operator"}},
	{is(agent.ErrClosed, lockservice.ErrClosed), Fault{"closed", http.StatusServiceUnavailable, "the daemon is stopping; try again in a few seconds"}},
	{is(workqueue.ErrClaimLost), Fault{"claim-lost", http.StatusConflict,
		"the claim has ended and another worker may have the task: stop the work, and call task_claim for another task"}},
	{is(agent.ErrAlive), Fault{"alive", http.StatusConflict, "the peer is up; stop it first"}},
	{is(workqueue.ErrDraining), Fault{"draining", http.StatusConflict, "the queue takes no new tasks; ask the operator to resume it, or use another queue"}},
	{is(workqueue.ErrFull), Fault{"queue-full", http.StatusServiceUnavailable, "complete some tasks, then add more"}},
	{is(agent.ErrTooManyWorkers), Fault{"workers-full", http.StatusServiceUnavailable, "send heartbeats through another peer, or remove workers that are not needed"}},
	{is(lockservice.ErrHeld, lockservice.ErrTimeout), Fault{"held", http.StatusConflict,
		"another holder has the lock: do other work and try again, or wait with wait_s; go on without the lock only if that does no harm"}},
	{is(lockservice.ErrNotHolder), Fault{"not-holder", http.StatusConflict,
		"the lease has ended: stop the work that it protected, and call lock_acquire again"}},
	{is(lockservice.ErrLost), Fault{"lease-lost", http.StatusConflict,
		"the lease ended in the meantime: stop the work that it protected, and call lock_acquire again"}},
	{is(lockservice.ErrBarred), Fault{"barred", http.StatusConflict,
		"the task is done, or will be tried again later: call task_claim for one that may be claimed now"}},
	{is(lockservice.ErrUnavailable), Fault{"no-majority", http.StatusServiceUnavailable,
		"too few voters can be reached to decide this; memory still works; call cluster_status and try again later"}},
	{is(lockservice.ErrConfigMismatch), Fault{"voters-differ", http.StatusServiceUnavailable,
		"the peers were started with different lists of voters; memory still works; tell the operator"}},
	{is(lockservice.ErrFull), Fault{"locks-full", http.StatusServiceUnavailable, "release locks that you do not need, and try again"}},
	{is(lockservice.ErrName), Fault{"bad-lock-name", http.StatusBadRequest, "choose another name for the lock"}},
	{is(lockservice.ErrTTLTooLong, lockservice.ErrTTLTooShort), Fault{"bad-ttl", http.StatusBadRequest, "ask for a time within the limits"}},
	{is(agent.ErrNotFound), Fault{"not-found", http.StatusNotFound, "there is nothing under this name; list or search to see what there is"}},
	{is(agent.ErrClockSkew), Fault{"clock-skew", http.StatusServiceUnavailable, "the clock of the daemon's host is wrong; tell the operator"}},
	{is(agent.ErrFaultsDisabled), Fault{"faults-disabled", http.StatusForbidden, "fault injection is for tests; the operator can allow it with --dev-faults"}},
	{is(context.DeadlineExceeded, context.Canceled), Fault{"timeout", http.StatusGatewayTimeout, "try again, with less in one call"}},
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

func ownShare(err error) bool {
	limit, ok := errors.AsType[*LimitError](err)
	return ok && limit.Own
}

func conflicted(err error) bool { _, ok := Current(err); return ok }

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

// Fault is what an error is to those who call.
type Fault struct {
	Code   string // stable
	Status int    // of HTTP
	Hint   string // what an agent is to do next
}

// FaultOf returns what an error is to those who call. One of no kind that is known is a
// fault of the daemon.
func FaultOf(err error) Fault {
	for _, k := range faults {
		if k.is(err) {
			return k.Fault
		}
	}
	return Fault{"internal", http.StatusInternalServerError, "this is a fault of the daemon; see its log"}
}

// Current returns the version that the key of a conflict has, false for another error.
func Current(err error) (crdt.Version, bool) {
	if c, ok := errors.AsType[*crdt.ConflictError](err); ok {
		return c.Have, true
	}
	if c, ok := errors.AsType[*ConditionError](err); ok {
		return c.Have, true
	}
	return 0, false
}

// ExitCode is that of a command which the API refused with a status.
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

// The exit codes of commands.
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

// faults are the errors that a caller can do something about; the first that fits
// counts. The table in docs/http.md says the same.
var faults = []struct {
	is func(error) bool
	Fault
}{
	{of[*crdt.KeyError], Fault{"bad-key", http.StatusBadRequest,
		"choose another key: up to 1,000 bytes, segments separated by '/', none empty, '.' or '..', no control characters"}},
	{of[*wire.ValueError], Fault{"bad-value", http.StatusBadRequest,
		"store a smaller or simpler value: up to 1 MiB, 32 levels deep, integers of 64 bits; split what is larger over several keys"}},
	{of[*BadRequest], Fault{"bad-request", http.StatusBadRequest, "correct the arguments and call again"}},
	{of[*crdt.OrderError], Fault{"bad-request", http.StatusBadRequest, "put the conditions on a key before the other operations on it"}},
	{of[*ForbiddenError], Fault{"forbidden", http.StatusForbidden,
		"your token does not allow this; use a key it covers, or ask the operator for the right that is missing"}},
	{ownShare, Fault{"too-many-requests", http.StatusTooManyRequests,
		"you have all that one client may have: release locks that you do not need, and try again"}},
	{of[*LimitError], Fault{"busy", http.StatusServiceUnavailable, "clients of the daemon have all that it has to give; try again later"}},
	{of[*crdt.TypeError], Fault{"wrong-type", http.StatusConflict,
		"the key holds another type: retrieve it to see which, give a value that fits it, or pass type to make it another"}},
	{conflicted, Fault{"version-conflict", http.StatusPreconditionFailed,
		"another writer came first: retrieve the key, merge your change, and store it with if_version of what you read"}},
	{of[*crdt.FullError], Fault{"store-full", http.StatusInsufficientStorage,
		"delete what is not needed any more, or store something shorter; the operator can raise --max-memory"}},
	{of[*agent.ReplicationError], Fault{"not-replicated", http.StatusGatewayTimeout, "it is written here and goes on spreading"}},
	{is(agent.ErrRotated), Fault{"rotated", http.StatusGatewayTimeout,
		"it is written here and goes on spreading; which peers have it is not known: a copy of the daemon runs, tell the operator"}},
	{is(agent.ErrClosed, lockservice.ErrClosed), Fault{"closed", http.StatusServiceUnavailable, "the daemon is stopping; try again in a few seconds"}},
	{is(workqueue.ErrClaimLost), Fault{"claim-lost", http.StatusConflict,
		"the claim has ended and someone else may have the task: drop the work, and call task_claim for another"}},
	{is(agent.ErrAlive), Fault{"alive", http.StatusConflict, "the peer is up; end it first"}},
	{is(workqueue.ErrDraining), Fault{"draining", http.StatusConflict, "the queue takes no more tasks; ask the operator to resume it, or use another queue"}},
	{is(workqueue.ErrFull), Fault{"queue-full", http.StatusServiceUnavailable, "complete tasks first, then add more"}},
	{is(agent.ErrTooManyWorkers), Fault{"workers-full", http.StatusServiceUnavailable, "beat through another peer, or end workers that are not needed"}},
	{is(lockservice.ErrHeld, lockservice.ErrTimeout), Fault{"held", http.StatusConflict,
		"another holds the lock: do other work and try again, or wait with wait_s; go on without it only if that does no harm"}},
	{is(lockservice.ErrNotHolder), Fault{"not-holder", http.StatusConflict,
		"the lease has ended: stop what it protected, and call lock_acquire again"}},
	{is(lockservice.ErrLost), Fault{"lease-lost", http.StatusConflict,
		"the lease has ended meanwhile: stop what it protected, and call lock_acquire again"}},
	{is(lockservice.ErrBarred), Fault{"barred", http.StatusConflict,
		"the task is done, or is to be tried later: call task_claim for one that may be claimed"}},
	{is(lockservice.ErrUnavailable), Fault{"no-majority", http.StatusServiceUnavailable,
		"too few voters are within reach to decide this; memory still works; see cluster_status and try again later"}},
	{is(lockservice.ErrConfigMismatch), Fault{"voters-differ", http.StatusServiceUnavailable,
		"peers were started with lists of voters that differ; memory still works; tell the operator"}},
	{is(lockservice.ErrFull), Fault{"locks-full", http.StatusServiceUnavailable, "release locks that you do not need, and try again"}},
	{is(lockservice.ErrName), Fault{"bad-lock-name", http.StatusBadRequest, "choose another name for the lock"}},
	{is(lockservice.ErrTTLTooLong, lockservice.ErrTTLTooShort), Fault{"bad-ttl", http.StatusBadRequest, "ask for a time within the limits"}},
	{is(agent.ErrNotFound), Fault{"not-found", http.StatusNotFound, "nothing is there; list or search to see what is"}},
	{is(agent.ErrClockSkew), Fault{"clock-skew", http.StatusServiceUnavailable, "the clock of the daemon's host is wrong; tell the operator"}},
	{is(agent.ErrFaultsDisabled), Fault{"faults-disabled", http.StatusForbidden, "fault injection is for tests; the operator allows it by --dev-faults"}},
	{is(context.DeadlineExceeded, context.Canceled), Fault{"timeout", http.StatusGatewayTimeout, "try again, with less at once"}},
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

package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// Problem is an error as clients see it (RFC 9457).
type Problem struct {
	Type    string `json:"type"`
	Title   string `json:"title"`
	Status  int    `json:"status"`
	Detail  string `json:"detail"`
	Code    string `json:"code"`                      // stable
	Current string `json:"current_version,omitempty"` // of a conflict
	Index   *int   `json:"index,omitempty"`           // of the operation of a batch that is refused
	*Majority
}

// Majority says how far an unavailable lock service is from a majority of voters.
type Majority struct {
	Reachable  int          `json:"reachable"`
	Needed     int          `json:"needed"`
	Quarantine api.Duration `json:"quarantine,omitempty"` // until a voter that has just started takes part
}

// Error returns what is wrong.
func (p *Problem) Error() string { return p.Detail }

const problemBase = "https://github.com/sentinel-peer/sentinel-peer/blob/main/docs/http.md#"

// bodyError is a body that did not come, or not in time.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return "reading the body: " + e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }

// describe is the one place where an error becomes a status.
func describe(err error) Problem {
	var (
		key      *crdt.KeyError
		value    *wire.ValueError
		kind     *crdt.TypeError
		conflict *crdt.ConflictError
		order    *crdt.OrderError
		unmet    *api.ConditionError
		request  *api.BadRequest
		lacking  *api.ForbiddenError
		limit    *api.LimitError
		copies   *agent.ReplicationError
		full     *crdt.FullError
		large    *http.MaxBytesError
		body     *bodyError
	)
	if told, ok := errors.AsType[*Problem](err); ok {
		return *told
	}
	p := Problem{Status: http.StatusInternalServerError, Code: "internal"}
	switch {
	case errors.As(err, &key):
		p.Status, p.Code = http.StatusBadRequest, "bad-key"
	case errors.As(err, &value):
		p.Status, p.Code = http.StatusBadRequest, "bad-value"
	case errors.As(err, &request) || errors.As(err, &order):
		p.Status, p.Code = http.StatusBadRequest, "bad-request"
	case errors.As(err, &lacking):
		p.Status, p.Code = http.StatusForbidden, "forbidden"
	case errors.As(err, &limit) && limit.Own:
		p.Status, p.Code = http.StatusTooManyRequests, "too-many-requests"
	case errors.As(err, &limit):
		p.Status, p.Code = http.StatusServiceUnavailable, "busy"
	case errors.As(err, &large):
		p.Status, p.Code = http.StatusRequestEntityTooLarge, "too-large"
	case errors.As(err, &body):
		p.Status, p.Code = http.StatusRequestTimeout, "incomplete-body"
	case errors.As(err, &kind):
		p.Status, p.Code = http.StatusConflict, "wrong-type"
	case errors.As(err, &conflict):
		p.Status, p.Code, p.Current = http.StatusPreconditionFailed, "version-conflict", conflict.Have.String()
	case errors.As(err, &full):
		p.Status, p.Code = http.StatusInsufficientStorage, "store-full"
	case errors.As(err, &unmet):
		p.Status, p.Code, p.Current = http.StatusPreconditionFailed, "version-conflict", unmet.Have.String()
	case errors.As(err, &copies):
		p.Status, p.Code = http.StatusGatewayTimeout, "not-replicated"
	case errors.Is(err, agent.ErrRotated):
		p.Status, p.Code = http.StatusGatewayTimeout, "rotated"
	case errors.Is(err, agent.ErrClosed) || errors.Is(err, lockservice.ErrClosed):
		p.Status, p.Code = http.StatusServiceUnavailable, "closed"
	case errors.Is(err, agent.ErrClaimLost):
		p.Status, p.Code = http.StatusConflict, "claim-lost"
	case errors.Is(err, agent.ErrAlive):
		p.Status, p.Code = http.StatusConflict, "alive"
	case errors.Is(err, agent.ErrDraining):
		p.Status, p.Code = http.StatusConflict, "draining"
	case errors.Is(err, agent.ErrQueueFull):
		p.Status, p.Code = http.StatusServiceUnavailable, "queue-full"
	case errors.Is(err, agent.ErrTooManyWorkers):
		p.Status, p.Code = http.StatusServiceUnavailable, "workers-full"
	case lockProblem(err, &p):
	case errors.Is(err, agent.ErrNotFound):
		p.Status, p.Code = http.StatusNotFound, "not-found"
	case errors.Is(err, agent.ErrClockSkew):
		p.Status, p.Code = http.StatusServiceUnavailable, "clock-skew"
	case errors.Is(err, agent.ErrFaultsDisabled):
		p.Status, p.Code = http.StatusForbidden, "faults-disabled"
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled):
		p.Status, p.Code = http.StatusGatewayTimeout, "timeout"
	}
	if op, ok := errors.AsType[*crdt.OpError](err); ok {
		p.Index = &op.Index
	}
	p.Detail = api.Text(err)
	if kind != nil {
		p.Detail = kind.Error() + wayOut(kind)
	}
	if large != nil {
		p.Detail = fmt.Sprintf("the body is over %d bytes; a value may have %d when encoded", large.Limit, wire.MaxValueBytes)
	}
	return p
}

// wayOut says how to make a key what an operation needs. Where a rule makes it something
// else there is no way.
func wayOut(e *crdt.TypeError) string {
	switch {
	case e.Rule != "":
		return ""
	case e.Want == crdt.Counter: // which is not assigned
		return "; delete it first"
	case e.Have == crdt.Counter && e.Want == crdt.Register: // it was put without a type
		return "; add to it, or put it with ?type=register (--type register)"
	}
	return fmt.Sprintf("; put it with ?type=%v (--type %v) to make it one, or have a --rule for such keys before they are put", e.Want, e.Want)
}

// lockProblem fills p if err is one of the lock service.
func lockProblem(err error, p *Problem) bool {
	if u, ok := errors.AsType[*lockservice.UnavailableError](err); ok {
		p.Majority = &Majority{Reachable: u.Reachable, Needed: u.Needed, Quarantine: api.Duration(u.Quarantine.Round(time.Millisecond))}
	}
	for _, known := range []struct {
		err    error
		status int
		code   string
	}{
		{lockservice.ErrHeld, http.StatusConflict, "held"},
		{lockservice.ErrTimeout, http.StatusConflict, "held"},
		{lockservice.ErrNotHolder, http.StatusConflict, "not-holder"},
		{lockservice.ErrLost, http.StatusConflict, "lease-lost"},
		{lockservice.ErrBarred, http.StatusConflict, "barred"},
		{lockservice.ErrUnavailable, http.StatusServiceUnavailable, "no-majority"},
		{lockservice.ErrConfigMismatch, http.StatusServiceUnavailable, "voters-differ"},
		{lockservice.ErrFull, http.StatusServiceUnavailable, "locks-full"},
		{lockservice.ErrName, http.StatusBadRequest, "bad-lock-name"},
		{lockservice.ErrTTLTooLong, http.StatusBadRequest, "bad-ttl"},
		{lockservice.ErrTTLTooShort, http.StatusBadRequest, "bad-ttl"},
	} {
		if errors.Is(err, known.err) {
			p.Status, p.Code = known.status, known.code
			return true
		}
	}
	return false
}

// tooMany refuses a client that asks for more than its share.
func tooMany(format string, args ...any) *Problem {
	return &Problem{Status: http.StatusTooManyRequests, Code: "too-many-requests", Detail: fmt.Sprintf(format, args...)}
}

// busy refuses what the server as a whole has no room for.
func busy(format string, args ...any) *Problem {
	return &Problem{Status: http.StatusServiceUnavailable, Code: "busy", Detail: fmt.Sprintf(format, args...)}
}

// problem answers with p, and counts it.
func (h *handler) problem(w http.ResponseWriter, p Problem) {
	h.counters.refuse(p.Code)
	p.Type, p.Title = problemBase+p.Code, http.StatusText(p.Status)
	w.Header().Set("Content-Type", "application/problem+json")
	if p.Code == "busy" || p.Code == "too-many-requests" {
		w.Header().Set("Retry-After", "1") // second
	}
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client is gone if this fails
}

func (h *handler) fail(w http.ResponseWriter, err error) { h.problem(w, describe(err)) }

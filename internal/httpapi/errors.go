package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// Problem is an error as clients see it (RFC 9457).
type Problem struct {
	Type    string `json:"type"`
	Title   string `json:"title"`
	Status  int    `json:"status"`
	Detail  string `json:"detail"`
	Code    string `json:"code"`                      // stable
	Current string `json:"current_version,omitempty"` // of a conflict
}

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
		request  *api.BadRequest
		copies   *agent.ReplicationError
		large    *http.MaxBytesError
		body     *bodyError
	)
	p := Problem{Status: http.StatusInternalServerError, Code: "internal"}
	switch {
	case errors.As(err, &key):
		p.Status, p.Code = http.StatusBadRequest, "bad-key"
	case errors.As(err, &value):
		p.Status, p.Code = http.StatusBadRequest, "bad-value"
	case errors.As(err, &request):
		p.Status, p.Code = http.StatusBadRequest, "bad-request"
	case errors.As(err, &large):
		p.Status, p.Code = http.StatusRequestEntityTooLarge, "too-large"
	case errors.As(err, &body):
		p.Status, p.Code = http.StatusRequestTimeout, "incomplete-body"
	case errors.As(err, &kind):
		p.Status, p.Code = http.StatusConflict, "wrong-type"
	case errors.As(err, &conflict):
		p.Status, p.Code, p.Current = http.StatusPreconditionFailed, "version-conflict", conflict.Have.String()
	case errors.As(err, &copies):
		p.Status, p.Code = http.StatusGatewayTimeout, "not-replicated"
	case errors.Is(err, agent.ErrNotFound):
		p.Status, p.Code = http.StatusNotFound, "not-found"
	case errors.Is(err, agent.ErrClosed):
		p.Status, p.Code = http.StatusServiceUnavailable, "closed"
	case errors.Is(err, agent.ErrClockSkew):
		p.Status, p.Code = http.StatusServiceUnavailable, "clock-skew"
	case errors.Is(err, agent.ErrFaultsDisabled):
		p.Status, p.Code = http.StatusForbidden, "faults-disabled"
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled):
		p.Status, p.Code = http.StatusGatewayTimeout, "timeout"
	}
	p.Detail = err.Error()
	if large != nil {
		p.Detail = fmt.Sprintf("the body is over %d bytes; a value may have %d when encoded", large.Limit, wire.MaxValueBytes)
	}
	return p
}

func problem(w http.ResponseWriter, p Problem) {
	p.Type, p.Title = problemBase+p.Code, http.StatusText(p.Status)
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client is gone if this fails
}

func fail(w http.ResponseWriter, err error) { problem(w, describe(err)) }

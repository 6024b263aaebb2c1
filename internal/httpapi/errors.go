package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

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
	Code    string `json:"code"`                      // a stable name
	Current string `json:"current_version,omitempty"` // the version of the key, for a conflict
	Index   *int   `json:"index,omitempty"`           // the index of the refused operation in a batch
	*Majority
}

// Majority says how far an unavailable lock service is from a majority of voters.
type Majority struct {
	Reachable  int          `json:"reachable"`
	Needed     int          `json:"needed"`
	Quarantine api.Duration `json:"quarantine,omitempty"` // the time until a voter that has just started takes part
}

// Error returns what is wrong.
func (p *Problem) Error() string { return p.Detail }

const problemBase = "https://github.com/sentinel-peer/sentinel-peer/blob/main/docs/http.md#"

// bodyError is the error of a body that did not arrive, or not in time.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return "reading the body: " + e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }

// describe returns an error as clients see it.
func describe(err error) Problem {
	if told, ok := errors.AsType[*Problem](err); ok {
		return *told
	}
	fault := api.FaultOf(err)
	p := Problem{Status: fault.Status, Code: fault.Code, Detail: api.Text(err)}
	if v, ok := api.Current(err); ok {
		p.Current = v.String()
	}
	if kind, ok := errors.AsType[*crdt.TypeError](err); ok {
		p.Detail = kind.Error() + wayOut(kind)
	}
	if op, ok := errors.AsType[*crdt.OpError](err); ok {
		p.Index = &op.Index
	}
	if u, ok := errors.AsType[*lockservice.UnavailableError](err); ok {
		p.Majority = &Majority{Reachable: u.Reachable, Needed: u.Needed, Quarantine: api.Duration(u.Quarantine.Round(time.Millisecond))}
	}
	if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
		p.Status, p.Code = http.StatusRequestEntityTooLarge, "too-large"
		p.Detail = fmt.Sprintf("the body has over %d bytes; an encoded value may have %d", large.Limit, wire.MaxValueBytes)
	} else if _, ok := errors.AsType[*bodyError](err); ok {
		p.Status, p.Code = http.StatusRequestTimeout, "incomplete-body"
	}
	return p
}

// wayOut says how a key can get the type that an operation needs. It is empty if a rule gives the
// key another type.
func wayOut(e *crdt.TypeError) string {
	switch {
	case e.Rule != "":
		return ""
	case e.Want == crdt.Counter: // a counter cannot be assigned
		return "; delete it first"
	case e.Have == crdt.Counter && e.Want == crdt.Register: // the put named no type
		return "; add to it, or put it with ?type=register (--type register)"
	}
	return fmt.Sprintf("; put it with ?type=%v (--type %v) to change its type, or set a --rule for such keys before they are put", e.Want, e.Want)
}

// tooMany refuses the request of a client that has its share.
func tooMany(format string, args ...any) *Problem {
	return &Problem{Status: http.StatusTooManyRequests, Code: "too-many-requests", Detail: fmt.Sprintf(format, args...)}
}

// busy refuses a request for which the server as a whole has no room.
func busy(format string, args ...any) *Problem {
	return &Problem{Status: http.StatusServiceUnavailable, Code: "busy", Detail: fmt.Sprintf(format, args...)}
}

// problem answers with a problem and counts it.
func (h *handler) problem(w http.ResponseWriter, p Problem) {
	h.counters.refuse(p.Code)
	p.Type, p.Title = problemBase+p.Code, http.StatusText(p.Status)
	w.Header().Set("Content-Type", "application/problem+json")
	if p.Code == "busy" || p.Code == "too-many-requests" {
		w.Header().Set("Retry-After", "1") // in seconds
	}
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // on an error the client has gone
}

func (h *handler) fail(w http.ResponseWriter, err error) { h.problem(w, describe(err)) }

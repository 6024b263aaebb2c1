package api

import (
	"context"
	"fmt"
	"net/url"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// Operation is one thing a client can ask for.
type Operation struct {
	Name    string   // stable: kv_get
	Method  string   // of HTTP
	Path    string   // of HTTP; {key} stands for the rest of the path
	Params  []string // of the query; others are refused
	Summary string
	// Run does it. The stream of events, which is no request and answer, has none.
	Run func(ctx context.Context, a *agent.Agent, r Request) (Response, error)
}

// Request is what a client gave.
type Request struct {
	Key    string
	Query  url.Values
	Body   []byte // JSON
	If     *crdt.Version
	Absent bool // only if there is nothing yet
}

// Response is what it gets.
type Response struct {
	Created bool
	Empty   bool         // nothing to show
	Version crdt.Version // of the key, 0 if that makes no sense
	Body    any          // to be encoded as JSON
}

// BadRequest says what a client got wrong, and what is allowed.
type BadRequest struct{ Reason string }

// Error returns the reason.
func (e *BadRequest) Error() string { return e.Reason }

func bad(format string, args ...any) error { return &BadRequest{fmt.Sprintf(format, args...)} }

var writing = []string{"ttl", "type", "replicas"}

// Operations is the table.
var Operations = []Operation{
	{"kv_get", "GET", "/v1/keys/{key}", nil, "the value of a key, as JSON", get},
	{"kv_put", "PUT", "/v1/keys/{key}", writing, "assign a key: ?ttl=30s, ?type=set, ?replicas=2", put},
	{"kv_delete", "DELETE", "/v1/keys/{key}", []string{"replicas"}, "delete a key", remove},
	{"kv_list", "GET", "/v1/keys", []string{"match", "limit", "after", "values"}, "keys that match a glob: ?match=tasks/**, ?limit=, ?values=true", list},
	{"kv_patch", "PATCH", "/v1/keys/{key}", writing, "merge fields into an object", patch},
	{"set_update", "POST", "/v1/sets/{key}", nil, `add to and remove from a set: {"add":[…],"remove":[…]}`, updateSet},
	{"counter_add", "POST", "/v1/counters/{key}", nil, `count, or raise a maximum: {"add":1} or {"max":7}`, count},
	{"watch", "GET", "/v1/watch", []string{"match", "snapshot", "last_event_id"}, "server-sent events of keys that match a glob: ?match=, ?snapshot=true", nil},
	{"members", "GET", "/v1/members", nil, "all known peers", members},
	{"stats", "GET", "/v1/stats", nil, "counters and gauges of this peer", stats},
	{"digest", "GET", "/v1/digest", nil, "checksum of the state: equal on peers that agree", digest},
	{"conflicts", "GET", "/v1/conflicts", []string{"match", "limit"}, "concurrent writes that lost: ?match=, ?limit=", conflicts},
	{"forget", "POST", "/v1/forget", nil, `give up on a peer that is down: {"name":"n3"}`, forget},
}

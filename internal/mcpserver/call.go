package mcpserver

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

const (
	// callTimeout bounds the time of a call, besides its wait.
	callTimeout = 5 * time.Second
	// maxWait bounds the wait of a call: clients and proxies give up after about 30 s.
	maxWait = 25 * time.Second
)

// call is one call of a tool.
type call struct {
	*args
	s      *Server
	ctx    context.Context // with the grant of the caller
	grant  *api.Grant
	from   *caller
	writer author
	action string // the name of the action in the answer
}

// owner identifies the holder of what the call acquires: the session or, without one, the token
// and the client's name.
func (c *call) owner() string {
	if c.from.session != nil && c.from.session.id != "" {
		return c.from.session.id
	}
	return c.writer.Token + "\n" + c.writer.Client
}

// within limits the call to a wait and callTimeout.
func (c *call) within(wait time.Duration) context.CancelFunc {
	ctx, cancel := context.WithTimeout(c.ctx, wait+callTimeout)
	c.ctx = ctx
	return cancel
}

// do runs an operation of package api, with its body encoded as JSON.
func (c *call) do(name string, r api.Request, body any) (api.Response, error) {
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return api.Response{}, err
		}
		r.Body = raw
	}
	if r.Query == nil {
		r.Query = url.Values{}
	}
	r.Leases, r.Reloads, r.Client = c.s.cfg.Leases, c.s.cfg.Reloads, c.writer.asker()
	return api.Find(name).Do(c.ctx, c.s.cfg.Agent, r)
}

// handler returns a tool as a handler of the SDK.
func (s *Server) handler(t *tool) mcp.ToolHandler {
	return func(ctx context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		ctx, done := s.until(ctx)
		defer done()
		c := &call{args: parse(req.Params.Arguments, t.known()), s: s, ctx: ctx, grant: api.GrantOf(ctx)}
		c.from, _ = ctx.Value(callerKey{}).(*caller) // every message has one
		c.writer = authorOf(req, c.grant)
		cancel := c.within(maxWait)
		defer cancel()
		var out fields
		err := c.fault
		if err == nil {
			out, err = c.run(t)
			err = cmp.Or(c.fault, err)
		}
		if err != nil && s.closing.Err() != nil {
			err = &failure{Code: "closed", Text: "the daemon is stopping", Hint: "try again in a few seconds"}
		}
		res := c.result(out, err)
		if s.cfg.Called != nil {
			s.cfg.Called(t.name, res.IsError)
		}
		return res, nil
	}
}

// run runs a tool. A panic is returned as an error.
func (c *call) run(t *tool) (out fields, err error) {
	defer c.s.recovered(t.name, &err)
	return t.run(c)
}

var errStopping = errors.New("the daemon is stopping; try again in a few seconds")

// until returns a context that also ends when the server closes.
func (s *Server) until(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.closing, cancel)
	return ctx, func() { stop(); cancel() }
}

// author is the client that wrote a key through a tool.
type author struct {
	Client  string   `json:"client"` // the name that the client gives itself
	Session string   `json:"session,omitempty"`
	Token   string   `json:"token,omitempty"`
	Created int64    `json:"created"` // when the key was created, in ms since 1970
	Tags    []string `json:"tags,omitempty"`
	peer    string
}

// writer names the author as far as it is verified: by the token, or else by the connection.
func (a author) writer() string {
	switch {
	case a.Token != "":
		return a.Token
	case a.Session != "":
		return a.peer + " session " + a.Session
	}
	return a.peer
}

// asker describes the author of a request for a lock to those who inspect the lock.
func (a author) asker() string {
	who := "MCP"
	switch {
	case a.Token != "":
		who = a.Token + " by MCP"
	case a.Session != "":
		who = "session " + a.Session + " by MCP"
	}
	return who + ", says it is " + a.Client
}

func authorOf(req *mcp.CallToolRequest, grant *api.Grant) author {
	a := author{Client: "unknown"}
	if info := req.ClientInfo(); info != nil {
		a.Client = shorten(strings.ToValidUTF8(strings.TrimSpace(info.Name+" "+info.Version), "\uFFFD"), 128)
	}
	if id := req.Session.ID(); id != "" {
		sum := sha256.Sum256([]byte(id)) // the id itself would let others act in the session
		a.Session = hex.EncodeToString(sum[:4])
	}
	if grant != nil {
		a.Token = grant.Name
	}
	return a
}

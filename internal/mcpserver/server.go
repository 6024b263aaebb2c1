package mcpserver

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// Config configures a server.
type Config struct {
	Agent    *agent.Agent
	Leases   *api.Leases  // shared with the HTTP API
	Reloads  *api.Reloads // shared with the HTTP API; may be nil
	Version  string       // the version of this program
	Memory   Memory
	Called   func(tool string, failed bool) // called for each call of a tool; may be nil
	Panicked func()                         // called for each call that panicked; may be nil
	Logger   *slog.Logger
}

const maxBody = 6*wire.MaxValueBytes + 1<<16

// Memory selects the names of the tools for memory.
type Memory string

// These are the generations of claude-flow. The empty text stands for the second.
const (
	Memory2    Memory = "2" // memory_usage
	Memory3    Memory = "3" // memory_store, memory_retrieve, memory_list, memory_delete
	MemoryBoth Memory = "both"
)

// Server serves MCP for one peer. It is an http.Handler for one path, behind the checks of
// internal/httpapi of hosts, origins and tokens. The grant of a caller is in the context of the
// request (api.WithGrant).
type Server struct {
	cfg   Config
	mcp   *mcp.Server
	plain http.Handler // for the protocol without sessions
	reads reads
	holds holds
	feeds feeds

	sessions sessions
	most     int           // the greatest number of sessions
	grace    time.Duration // sessionGrace

	mu      sync.Mutex // orders Add of the groups below and Close
	closing context.Context
	close   context.CancelFunc
	running sync.WaitGroup // requests and holds
	streams sync.WaitGroup // feeds, and goroutines that wait for the end of a session
}

// New returns a server. Close it before its agent.
func New(cfg Config) *Server {
	closing, stop := context.WithCancel(context.Background())
	s := &Server{cfg: cfg, most: maxSessions, grace: sessionGrace, closing: closing, close: stop, reads: reads{by: map[string]uint64{}}}
	s.holds.by, s.holds.places = map[string]*hold{}, api.NewShares("leases held for agents", maxHolds, maxHolds/2)
	s.sessions.by, s.sessions.ofToken, s.sessions.ofAddress = map[string]*session{}, map[string]int{}, map[string]int{}
	s.feeds.by, s.feeds.subs = map[string]*feed{}, map[*mcp.ServerSession]map[string]bool{}
	quiet := slog.New(demoted{cfg.Logger.Handler()})
	s.mcp = mcp.NewServer(&mcp.Implementation{Name: "sentinel-peer", Title: "sentinel-peer shared memory", Version: cfg.Version}, &mcp.ServerOptions{
		Instructions:       instructions,
		Logger:             quiet,
		Capabilities:       &mcp.ServerCapabilities{Tools: &mcp.ToolCapabilities{}, Resources: &mcp.ResourceCapabilities{Subscribe: true, ListChanged: true}},
		SubscribeHandler:   s.subscribe,
		UnsubscribeHandler: s.unsubscribe,
	})
	for _, t := range tools {
		if t.v3 && cfg.Memory != Memory3 && cfg.Memory != MemoryBoth || t.v2 && cfg.Memory == Memory3 {
			continue
		}
		s.mcp.AddTool(&mcp.Tool{Name: t.name, Description: t.description, InputSchema: t.schema, Annotations: t.annotations()}, s.handler(&t))
	}
	s.addResources()
	s.mcp.AddReceivingMiddleware(s.called)
	s.plain = mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s.mcp }, &mcp.StreamableHTTPOptions{
		Stateless: true, JSONResponse: true, Logger: quiet, MaxRequestBodyBytes: -1, DisableLocalhostProtection: true, PropagateRequestCancellation: true,
	})
	return s
}

const instructions = `Shared memory of a fleet of agents. Agents on every machine of the fleet read what you store here within moments.
Use memory_usage to store and retrieve, memory_search to find, memory_watch to wait for writes of others.
If two agents write one key, the later write wins, unless you pass if_version. Work that only one agent may do at a time needs lock_acquire; to share out work, use task_add and task_claim.`

// begin adds something for which Close waits. It reports false if Close has begun.
func (s *Server) begin(what *sync.WaitGroup) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Err() != nil {
		return false
	}
	what.Add(1)
	return true
}

// caller is the sender of a message.
type caller struct {
	grant   *api.Grant
	ctx     context.Context // ends when nobody waits for the answer any more
	session *session        // nil if there is none
}

// ends returns channels that close when the caller's session has ended and when its token is
// withdrawn; nil where there is none.
func (c *caller) ends() (session, token <-chan struct{}) {
	if c.session != nil && c.session.id != "" {
		session = c.session.ended
	}
	if c.grant != nil {
		token = c.grant.Withdrawn
	}
	return session, token
}

// info returns the form in which the SDK passes a caller on.
func (c *caller) info() *auth.TokenInfo {
	return &auth.TokenInfo{Extra: map[string]any{"caller": c}}
}

type callerKey struct{}

// called gives each message the grant of its own HTTP request, and ends it with the request. A
// panic becomes the answer.
func (s *Server) called(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, req mcp.Request) (_ mcp.Result, err error) {
		defer s.recovered(method, &err)
		if extra := req.GetExtra(); extra != nil && extra.TokenInfo != nil {
			if from, ok := extra.TokenInfo.Extra["caller"].(*caller); ok {
				ctx = api.WithCaller(api.WithGrant(ctx, from.grant), api.CallerOf(from.ctx))
				ctx, cancel := context.WithCancel(context.WithValue(ctx, callerKey{}, from))
				defer cancel()
				defer context.AfterFunc(from.ctx, cancel)()
				return next(ctx, method, req)
			}
		}
		return nil, errors.New("the request carries no grant")
	}
}

// Close ends waits and subscriptions, lets calls under way answer, and ends all sessions; no
// goroutine is left then. Calls that are not done when ctx ends are ended with their connections.
// What was held for agents ends with its TTL.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	s.close()
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.running.Wait()
		for _, x := range s.sessions.all() {
			x.end()
		}
		s.streams.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// demoted logs the messages of the SDK at the debug level.
type demoted struct{ slog.Handler }

func (d demoted) Enabled(ctx context.Context, _ slog.Level) bool {
	return d.Handler.Enabled(ctx, slog.LevelDebug)
}

func (d demoted) Handle(ctx context.Context, r slog.Record) error {
	r.Level = slog.LevelDebug
	return d.Handler.Handle(ctx, r)
}

func (d demoted) WithAttrs(attrs []slog.Attr) slog.Handler {
	return demoted{d.Handler.WithAttrs(attrs)}
}
func (d demoted) WithGroup(name string) slog.Handler { return demoted{d.Handler.WithGroup(name)} }

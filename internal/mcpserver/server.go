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
	Agent   *agent.Agent
	Leases  *api.Leases // those of the HTTP API
	Version string      // of this program
	// V3 offers memory under the names of claude-flow 3.x, in place of memory_usage.
	V3       bool
	Called   func(tool string, failed bool) // for each call of a tool; may be nil
	Panicked func()                         // for each call that panicked; may be nil
	Logger   *slog.Logger
}

const (
	maxSessions    = 2000
	sessionTimeout = 30 * time.Minute // without a request
	maxBody        = 6*wire.MaxValueBytes + 1<<16
	// stateless is the first version of the protocol that has no sessions.
	stateless = "2026-07-28"
)

// Server serves MCP for one peer. It is an http.Handler for one path, that stands behind
// the checks of internal/httpapi: of hosts, origins and tokens. The grant of each caller
// is in the context of the request (api.WithGrant).
type Server struct {
	cfg   Config
	mcp   *mcp.Server
	http  http.Handler // with sessions
	plain http.Handler // without
	reads reads
	holds holds
	feeds feeds

	most int // sessions

	mu      sync.Mutex // orders Add and closing
	closing context.Context
	close   context.CancelFunc
	running sync.WaitGroup // requests and holds
	streams sync.WaitGroup // feeds, and waits for the end of sessions
}

// New returns a server. Close it before its agent.
func New(cfg Config) *Server {
	closing, stop := context.WithCancel(context.Background())
	s := &Server{cfg: cfg, most: maxSessions, closing: closing, close: stop, reads: reads{by: map[string]uint64{}}}
	s.holds.by = map[string]*hold{}
	s.feeds.by, s.feeds.subs = map[string]*feed{}, map[*mcp.ServerSession]map[string]bool{}
	quiet := slog.New(demoted{cfg.Logger.Handler()})
	s.mcp = mcp.NewServer(&mcp.Implementation{Name: "sentinel-peer", Title: "sentinel-peer shared memory", Version: cfg.Version}, &mcp.ServerOptions{
		Instructions:       instructions,
		Logger:             quiet,
		Capabilities:       &mcp.ServerCapabilities{Tools: &mcp.ToolCapabilities{}, Resources: &mcp.ResourceCapabilities{Subscribe: true}},
		SubscribeHandler:   s.subscribe,
		UnsubscribeHandler: s.unsubscribe,
	})
	for _, t := range tools {
		if t.v3 && !cfg.V3 || t.v2 && cfg.V3 {
			continue
		}
		s.mcp.AddTool(&mcp.Tool{Name: t.name, Description: t.description, InputSchema: t.schema, Annotations: t.annotations()}, s.handler(&t))
	}
	s.addResources()
	s.mcp.AddReceivingMiddleware(s.granted)
	serving := func(*http.Request) *mcp.Server { return s.mcp }
	s.http = mcp.NewStreamableHTTPHandler(serving, &mcp.StreamableHTTPOptions{
		JSONResponse: true, Logger: quiet, SessionTimeout: sessionTimeout, MaxRequestBodyBytes: maxBody, DisableLocalhostProtection: true,
	})
	s.plain = mcp.NewStreamableHTTPHandler(serving, &mcp.StreamableHTTPOptions{
		Stateless: true, JSONResponse: true, Logger: quiet, MaxRequestBodyBytes: maxBody, DisableLocalhostProtection: true, PropagateRequestCancellation: true,
	})
	return s
}

const instructions = `Shared memory of a fleet of agents. What you store here, agents on every machine of the fleet read within moments.
Use memory_usage to store and retrieve, memory_search to find, memory_watch to wait for what others write.
Two writers of one key: the later one wins, unless you pass if_version. What only one agent may do at a time needs lock_acquire; work to be shared out goes through task_add and task_claim.`

// ServeHTTP serves the streamable HTTP transport of MCP.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.begin(&s.running) {
		http.Error(w, errStopping.Error(), http.StatusServiceUnavailable)
		return
	}
	over := sync.OnceFunc(s.running.Done)
	defer over()
	w = &prompt{ResponseWriter: w, out: http.NewResponseController(w)}
	next := s.http
	if r.Header.Get("Mcp-Protocol-Version") >= stateless {
		next = s.plain
	} else if r.Method == http.MethodPost && r.Header.Get("Mcp-Session-Id") == "" && s.sessions() >= s.most {
		http.Error(w, "too many sessions; end some, or wait until idle ones have run out", http.StatusServiceUnavailable)
		return
	}
	// The SDK hands a call what the verifier of its request's token returned, and no
	// other part of the request's context.
	ctx := r.Context()
	if r.Method == http.MethodGet {
		over() // it ends with its session
	}
	if r.Header.Get("Mcp-Method") == "subscriptions/listen" { // ends with its request only
		over()
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(s.closing, cancel)()
	}
	r = r.Clone(ctx)
	r.Header.Set("Authorization", "Bearer verified")
	auth.RequireBearerToken(verified, &auth.RequireBearerTokenOptions{AllowMissingExpiration: true})(next).ServeHTTP(w, r)
}

// begin adds something that Close waits for, unless it has begun to.
func (s *Server) begin(what *sync.WaitGroup) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Err() != nil {
		return false
	}
	what.Add(1)
	return true
}

func (s *Server) sessions() (n int) {
	for range s.mcp.Sessions() {
		n++
	}
	return n
}

// verified passes on the grant that the server before us gave. A session belongs to the
// token that began it.
func verified(ctx context.Context, _ string, _ *http.Request) (*auth.TokenInfo, error) {
	grant := api.GrantOf(ctx)
	info := &auth.TokenInfo{Extra: map[string]any{"grant": grant}}
	if grant != nil {
		info.UserID = grant.Name
	}
	return info, nil
}

// granted gives each message the grant of its own HTTP request. A panic is its answer.
func (s *Server) granted(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, req mcp.Request) (_ mcp.Result, err error) {
		defer s.recovered(method, &err)
		if extra := req.GetExtra(); extra != nil && extra.TokenInfo != nil {
			if grant, ok := extra.TokenInfo.Extra["grant"].(*api.Grant); ok {
				return next(api.WithGrant(ctx, grant), method, req)
			}
		}
		return nil, errors.New("the request carries no grant")
	}
}

// Close ends waits and subscriptions, has calls under way answered, and ends all
// sessions; no goroutine is left then. What is under way after ctx ends with its
// connection. What was held for agents ends with its TTL.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	s.close()
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.running.Wait()
		for session := range s.mcp.Sessions() {
			_ = session.Close() // its client is gone if this fails
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

// demoted logs what the SDK has to say as debugging.
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

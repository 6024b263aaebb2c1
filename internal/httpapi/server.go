package httpapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// Config configures a server.
type Config struct {
	Agent    *agent.Agent
	Metrics  http.Handler // served at /metrics
	Panicked func()       // called for each request that panicked
	Logger   *slog.Logger
	Faults   bool // serve /v1/dev/cut and /v1/dev/heal

	// Leases is shared with the other surfaces that hand out leases. It may be nil.
	Leases *api.Leases
	// Mounts are other handlers by their pattern of http.ServeMux; "/" is the front page
	// alone. They sit behind the same checks and limits as the API, and find the grant of
	// their caller by api.GrantOf. A stream sets its own deadline before each write, and
	// asks for Accept: text/event-stream by GET, by which it counts as one.
	Mounts map[string]http.Handler
	// Public are such handlers that need no token: the page to log in at.
	Public map[string]http.Handler
}

const (
	maxBody     = 6*wire.MaxValueBytes + 1<<16 // a value as JSON, every byte escaped
	maxHeader   = 64 << 10
	callTimeout = 30 * time.Second
)

// Server serves one agent.
type Server struct {
	cfg    Config
	http   *http.Server
	served chan error
	drain  context.CancelFunc // ends streams
}

// Listen opens addr, loopback only, for Serve. Until then callers wait.
func Listen(addr string) (net.Listener, error) {
	if err := loopback(addr); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("http: %w", err)
	}
	return l, nil
}

// Serve answers on l until Close, which closes l too.
func Serve(l net.Listener, cfg Config) *Server {
	ctx, drain := context.WithCancel(context.Background())
	s := &Server{cfg: cfg, served: make(chan error, 1), drain: drain}
	s.http = &http.Server{
		Handler:           handler{cfg, ctx, cmp.Or(cfg.Leases, api.NewLeases())}.routes(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       callTimeout,
		WriteTimeout:      callTimeout + 5*time.Second, // streams move it along
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug),
	}
	go func() { s.served <- s.http.Serve(l) }()
	return s
}

// Close stops taking requests, ends streams and waits for what runs, within ctx.
func (s *Server) Close(ctx context.Context) error {
	s.drain()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	<-s.served
	return err
}

// loopback refuses an address that others could reach: there is nothing yet that
// tells a stranger from a friend.
func loopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("http address %q: want host:port", addr)
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("http address %q: without authentication only loopback is served; want 127.0.0.1:port", addr)
}

type handler struct {
	cfg      Config
	draining context.Context // done when streams must end
	leases   *api.Leases
}

func (h handler) routes() http.Handler {
	mux := http.NewServeMux()
	for _, op := range api.Operations {
		path := strings.ReplaceAll(op.Path, "{key}", "{key...}")
		if op.Streams() {
			mux.HandleFunc(op.Method+" "+path, h.watch(op))
			continue
		}
		mux.HandleFunc(op.Method+" "+path, h.operation(op))
		if bare := strings.TrimSuffix(op.Path, "/{key}"); bare != op.Path && !served(op.Method, bare) {
			mux.HandleFunc(op.Method+" "+bare, keyless(op)) // the router would redirect
		}
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", h.ready)
	if h.cfg.Metrics != nil {
		mux.Handle("GET /metrics", h.cfg.Metrics)
	}
	if h.cfg.Faults {
		mux.HandleFunc("POST /v1/dev/cut", h.cut)
		mux.HandleFunc("POST /v1/dev/heal", h.heal)
	}
	for _, mounts := range []map[string]http.Handler{h.cfg.Mounts, h.cfg.Public} {
		for pattern, mounted := range mounts { // the order says nothing to the router
			if pattern == "/" {
				pattern = "/{$}"
			}
			mux.Handle(pattern, mounted)
		}
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { unrouted(w, r, mux) })
	return h.recovering(guard(http.NewCrossOriginProtection().Handler(mux)))
}

func served(method, path string) bool {
	return slices.ContainsFunc(api.Operations, func(op api.Operation) bool { return op.Method == method && op.Path == path })
}

func keyless(op api.Operation) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		problem(w, Problem{Status: http.StatusBadRequest, Code: "bad-key", Detail: fmt.Sprintf("%s names no key; want %s %s", r.URL.Path, op.Method, op.Path)})
	}
}

// unrouted answers what no pattern of mux matches.
func unrouted(w http.ResponseWriter, r *http.Request, mux *http.ServeMux) {
	var allowed []string
	for _, method := range []string{"GET", "HEAD", "PUT", "PATCH", "POST", "DELETE"} {
		other := r.Clone(r.Context())
		other.Method = method
		if _, pattern := mux.Handler(other); pattern != "/" {
			allowed = append(allowed, method)
		}
	}
	if allowed == nil {
		problem(w, Problem{Status: http.StatusNotFound, Code: "no-such-route", Detail: "nothing is served at " + r.URL.Path})
		return
	}
	list := strings.Join(allowed, ", ")
	w.Header().Set("Allow", list)
	problem(w, Problem{Status: http.StatusMethodNotAllowed, Code: "method-not-allowed", Detail: fmt.Sprintf("%s takes %s, not %s", r.URL.Path, list, r.Method)})
}

// guard refuses paths that the router would clean into others, and requests that
// a web page sent by a name it made point here.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		if ip := net.ParseIP(strings.Trim(host, "[]")); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			problem(w, Problem{Status: http.StatusForbidden, Code: "bad-host", Detail: fmt.Sprintf("host %q: this server answers to loopback addresses only", r.Host)})
			return
		}
		path := r.URL.EscapedPath()
		shown := path
		if !strings.HasPrefix(path, "/v1/") {
			shown = strings.TrimSuffix(path, "/") // a folder of what is mounted
		}
		for _, segment := range strings.Split(strings.TrimPrefix(shown, "/"), "/") {
			if segment == "" && path != "/" || segment == "." || segment == ".." {
				problem(w, Problem{Status: http.StatusBadRequest, Code: "bad-key", Detail: "the path has an empty, . or .. segment; escape the whole key, slashes too"})
				return
			}
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}

// operation renders one operation of the table.
func (h handler) operation(op api.Operation) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
		defer cancel()
		req := api.Request{Key: r.PathValue("key"), ID: r.PathValue("id"), Agent: r.PathValue("agent"), Queue: r.PathValue("queue"), Query: r.URL.Query(), Leases: h.leases}
		req.Longer = func(wait time.Duration) context.Context { return h.longer(w, r, wait) }
		err := known(req.Query, op.Params)
		if err == nil && r.Method != http.MethodGet {
			req.Body, err = body(w, r)
		}
		if err == nil {
			err = preconditions(r, &req)
		}
		var res api.Response
		if err == nil {
			res, err = op.Do(ctx, h.cfg.Agent, req)
		}
		if err != nil {
			fail(w, err)
			return
		}
		h.answer(w, r, res)
	}
}

// body reads all of a request's body.
func body(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if large := (*http.MaxBytesError)(nil); err != nil && !errors.As(err, &large) {
		err = &bodyError{err}
	}
	return b, err
}

// known refuses parameters an operation does not have: a misspelt ttl must not keep
// a key for ever.
func known(query url.Values, params []string) error {
	for name := range query {
		if !slices.Contains(params, name) {
			allowed := "none is allowed here"
			if len(params) > 0 {
				allowed = "allowed are " + strings.Join(params, ", ")
			}
			return &api.BadRequest{Reason: fmt.Sprintf("unknown parameter %q; %s", name, allowed)}
		}
	}
	return nil
}

// preconditions reads If-Match and If-None-Match: *.
func preconditions(r *http.Request, req *api.Request) error {
	if s := r.Header.Get("If-Match"); s != "" && r.Method != http.MethodGet {
		v, err := crdt.ParseVersion(strings.Trim(s, `"`))
		if err != nil {
			return &api.BadRequest{Reason: "If-Match: " + err.Error() + ", as in ETag"}
		}
		req.If = &v
	}
	if s := r.Header.Get("If-None-Match"); s != "" && r.Method != http.MethodGet {
		if s != "*" {
			return &api.BadRequest{Reason: "If-None-Match of a write takes only *"}
		}
		req.Absent = true
	}
	return nil
}

func (h handler) answer(w http.ResponseWriter, r *http.Request, res api.Response) {
	if res.Version != 0 {
		etag := `"` + res.Version.String() + `"`
		w.Header().Set("ETag", etag)
		if r.Method == http.MethodGet && r.Header.Get("If-None-Match") == etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	if res.Empty {
		status := http.StatusOK
		switch {
		case res.Created:
			status = http.StatusCreated
		case r.Method == http.MethodDelete || r.Method == http.MethodPost:
			status = http.StatusNoContent
		}
		w.WriteHeader(status)
		return
	}
	body, err := json.Marshal(res.Body)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if res.Created {
		w.WriteHeader(http.StatusCreated)
	}
	_, _ = w.Write(append(body, '\n')) // the client is gone if this fails
}

func (h handler) ready(w http.ResponseWriter, _ *http.Request) {
	if !h.cfg.Agent.Ready() {
		problem(w, Problem{Status: http.StatusServiceUnavailable, Code: "not-ready", Detail: "not synced with any peer yet"})
		return
	}
	fmt.Fprintln(w, "ready")
}

func (h handler) cut(w http.ResponseWriter, r *http.Request) {
	var want struct{ Peers []string }
	raw, err := body(w, r)
	if err == nil {
		if err = json.Unmarshal(raw, &want); err != nil {
			err = &api.BadRequest{Reason: `body: want {"peers":["n2",…]}: ` + err.Error()}
		}
	}
	if err == nil {
		err = h.cfg.Agent.Cut(want.Peers...)
	}
	if err != nil {
		fail(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (h handler) heal(w http.ResponseWriter, _ *http.Request) {
	if err := h.cfg.Agent.Heal(); err != nil {
		fail(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

package httpapi

import (
	"cmp"
	"context"
	"crypto/sha256"
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
	Panicked func()       // called for each request that panicked; may be nil
	Logger   *slog.Logger
	Faults   bool // serve /v1/dev/cut and /v1/dev/heal

	Tokens      *Tokens      // the callers; nil lets everybody call, so that the server must be on loopback
	Certificate *Certificate // for TLS; nil for none
	Hosts       []string     // host names that the server answers to, beside localhost and addresses
	Limits      Limits

	// Leases is shared with the other surfaces that grant leases. It may be nil.
	Leases *api.Leases
	// Reloads is shared with the other surfaces. It may be nil.
	Reloads *api.Reloads
	// Mounts are other handlers by their pattern of http.ServeMux; "/" is the front page alone.
	// They are behind the same checks and limits as the API, and find the grant of their caller by
	// api.GrantOf. A stream sets its own deadline before each write. A GET with Accept:
	// text/event-stream counts as a stream.
	Mounts map[string]http.Handler
	// Public are handlers that need no token: "GET /login", the login page, whose form posts token
	// and next to the same path, and the files which that page needs.
	Public map[string]http.Handler
}

const (
	maxBody     = 6*wire.MaxValueBytes + 1<<16 // a value as JSON with every byte escaped, and the rest of a body
	maxHeader   = 64 << 10
	callTimeout = 30 * time.Second
)

// Server serves one agent.
type Server struct {
	http     *http.Server
	door     *door
	load     *load
	counters *counters
	served   chan error
	drain    context.CancelFunc // ends streams and waits
}

// Serve answers on l until Close, which closes l too.
func Serve(l net.Listener, cfg Config) *Server {
	ctx, drain := context.WithCancel(context.Background())
	work, count := &load{Limits: cfg.Limits.withDefaults()}, newCounters()
	s := &Server{
		door:     newDoor(l, count, work.Limits),
		load:     work,
		counters: count,
		served:   make(chan error, 1),
		drain:    drain,
	}
	h := &handler{
		cfg: cfg, draining: ctx, leases: cmp.Or(cfg.Leases, api.NewLeases()), load: work, counters: count,
		hosts: newHosts(l.Addr(), cfg.Hosts), protection: http.NewCrossOriginProtection(),
		logins: &logins{open: map[[sha256.Size]byte]login{}},
	}
	h.route()
	s.http = &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       callTimeout,
		WriteTimeout:      callTimeout + 5*time.Second, // streams set later deadlines
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug),
		ConnContext:       s.door.inContext,
		ConnState:         s.door.changed,
	}
	if cfg.Certificate != nil {
		s.http.TLSConfig = cfg.Certificate.config()
	}
	go func() {
		if cfg.Certificate != nil {
			s.served <- s.http.ServeTLS(s.door, "", "")
			return
		}
		s.served <- s.http.Serve(s.door)
	}()
	return s
}

// Close stops accepting requests, ends streams, and waits for running requests until ctx ends.
func (s *Server) Close(ctx context.Context) error {
	s.drain()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	<-s.served
	return err
}

type handler struct {
	cfg        Config
	draining   context.Context // ends when streams must end
	leases     *api.Leases
	load       *load
	counters   *counters
	hosts      hosts
	protection *http.CrossOriginProtection
	logins     *logins
	loginPage  bool // Public has a login page
	mux        *http.ServeMux
}

// ServeHTTP checks the origin, host and path of a request, and passes it to the router if they are
// acceptable (I1, I2).
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out := &tracked{ResponseWriter: w, conn: connOf(r.Context())}
	out.conn.asking.Store(false)
	defer func() {
		if p := recover(); p != nil {
			h.recovered(out, r, p)
		}
	}()
	w.Header()["X-Content-Type-Options"] = noSniff
	if out.conn.full != nil {
		w.Header().Set("Connection", "close") // so that the next client gets its place
	}
	if refused := h.guard(r); refused != nil {
		h.problem(out, *refused)
		return
	}
	h.mux.ServeHTTP(out, r)
}

var noSniff = []string{"nosniff"} // shared by all answers

// operation returns the handler of an operation.
func (h *handler) operation(op api.Operation) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), patience(r))
		defer cancel()
		req := api.Request{Key: r.PathValue("key"), ID: r.PathValue("id"), Agent: r.PathValue("agent"), Queue: r.PathValue("queue"), Client: asker(r), Leases: h.leases, Reloads: h.cfg.Reloads}
		req.Longer = func(wait time.Duration) (context.Context, error) { return h.longer(w, r, wait) }
		var err error
		req.Query, err = parameters(r, &op)
		if err == nil && !safe(r) {
			var free func()
			if free, err = h.load.reserve(r); err == nil {
				defer free()
				req.Body, err = body(w, r)
			}
		}
		if err == nil {
			err = preconditions(r, &op, &req)
		}
		var res api.Response
		if err == nil {
			res, err = op.Do(ctx, h.cfg.Agent, req)
		}
		if err != nil {
			h.fail(w, err)
			return
		}
		h.answer(w, r, res)
	}
}

// asker names the client of a request: its token, if the server has tokens, and its address.
func asker(r *http.Request) string {
	if grant := api.GrantOf(r.Context()); grant != nil {
		return grant.Name + " at " + r.RemoteAddr
	}
	return r.RemoteAddr
}

// body reads the whole body of a request.
func body(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if large := (*http.MaxBytesError)(nil); err != nil && !errors.As(err, &large) {
		err = &bodyError{err}
	}
	return b, err
}

// parameters reads the query. It refuses parameters that the operation does not have, and repeated
// ones that it has only once. Ignoring a misspelt ttl, say, would keep a key for ever.
func parameters(r *http.Request, op *api.Operation) (url.Values, error) {
	if r.URL.RawQuery == "" {
		return nil, nil
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, &api.BadRequest{Reason: "query: " + err.Error()}
	}
	for name, values := range query {
		if !slices.Contains(op.Params, name) {
			allowed := "none is allowed here"
			if len(op.Params) > 0 {
				allowed = "allowed are " + strings.Join(op.Params, ", ")
			}
			return nil, &api.BadRequest{Reason: fmt.Sprintf("unknown parameter %q; %s", name, allowed)}
		}
		if len(values) > 1 && !op.Repeats(name) {
			return nil, &api.BadRequest{Reason: fmt.Sprintf("parameter %q is given %d times; want it once", name, len(values))}
		}
	}
	return query, nil
}

func (h *handler) answer(w http.ResponseWriter, r *http.Request, res api.Response) {
	if res.Version != 0 {
		etag := `"` + res.Version.String() + `"`
		w.Header().Set("ETag", etag)
		if safe(r) && unchanged(r.Header.Values("If-None-Match"), res.Version) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	if res.Empty {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	body, err := encoded(res.Body)
	if err != nil {
		h.fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if res.Created {
		w.WriteHeader(http.StatusCreated)
	}
	_, _ = w.Write(append(body, '\n')) // on an error the client has gone
}

// encoded returns v as JSON. It calls MarshalJSON itself, since json.Marshal would check the result
// again.
func encoded(v any) ([]byte, error) {
	if v, ok := v.(crdt.Value); ok {
		return v.AppendJSON(nil)
	}
	return json.Marshal(v)
}

// ready reports whether this peer may be used, and whether a rollout may go on to the next peer,
// whatever the state of other peers. The answer also has the verdict, for people; it names nobody,
// since no token is needed here.
func (h *handler) ready(w http.ResponseWriter, r *http.Request) {
	if !h.cfg.Agent.Ready() {
		h.problem(w, Problem{Status: http.StatusServiceUnavailable, Code: "not-ready", Detail: "not synced with any peer yet"})
		return
	}
	if left := h.cfg.Agent.Locks().Returning(); left > 0 {
		h.problem(w, Problem{Status: http.StatusServiceUnavailable, Code: "voter-fresh",
			Detail: fmt.Sprintf("this voter has restarted and does not know all leases for %v more: do not stop another voter; requests are served", (left + time.Second).Truncate(time.Second))})
		return
	}
	v := api.Judge(r.Context(), h.cfg.Agent, h.cfg.Reloads)
	fmt.Fprintln(w, "ready")
	fmt.Fprintln(w, "verdict:", v.Level)
	for _, f := range v.Findings {
		fmt.Fprintln(w, f.Level, f.Check)
	}
}

func (h *handler) cut(w http.ResponseWriter, r *http.Request) {
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
		h.fail(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (h *handler) heal(w http.ResponseWriter, _ *http.Request) {
	if err := h.cfg.Agent.Heal(); err != nil {
		h.fail(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

package httpapi

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

// route registers all handlers at the router.
func (h *handler) route() {
	h.mux = http.NewServeMux()
	handle := func(pattern, name string, public, stream bool, f http.HandlerFunc) {
		h.mux.Handle(pattern, h.admitted(h.counters.of(name), public, stream, f))
	}
	for _, op := range api.Operations {
		path := strings.ReplaceAll(op.Path, "{key}", "{key...}")
		if op.Streams() {
			handle(op.Method+" "+path, op.Name, false, true, h.watch(op))
			continue
		}
		handle(op.Method+" "+path, op.Name, false, false, h.operation(op))
		if bare := strings.TrimSuffix(op.Path, "/{key}"); bare != op.Path && !served(op.Method, bare) {
			handle(op.Method+" "+bare, op.Name, false, false, h.keyless(op)) // else the router would redirect
		}
	}
	handle("GET /v1/openapi.json", "openapi", false, false, openapi)
	h.health("GET /healthz", "healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	h.health("GET /readyz", "readyz", h.ready)
	handle("POST /login", "login", true, false, h.login)
	handle("POST /logout", "logout", true, false, h.logout)
	if h.cfg.Metrics != nil {
		all := api.Right{Verb: api.Read, Key: api.Everything} // since metrics name queues
		handle("GET /metrics", "metrics", false, false, h.holding(all, h.cfg.Metrics.ServeHTTP))
	}
	if h.cfg.Faults {
		admin := api.Right{Verb: api.Admin}
		handle("POST /v1/dev/cut", "dev_cut", false, false, h.holding(admin, h.cut))
		handle("POST /v1/dev/heal", "dev_heal", false, false, h.holding(admin, h.heal))
	}
	for pattern, mounted := range h.cfg.Mounts { // the router does not depend on the order
		handle(exact(pattern), pattern, false, false, mounted.ServeHTTP)
	}
	for pattern, mounted := range h.cfg.Public {
		handle(exact(pattern), pattern, true, false, mounted.ServeHTTP)
		h.loginPage = h.loginPage || pattern == "GET /login"
	}
	handle("/", "other", false, false, h.unrouted)
}

// health serves the health checks, without a token and outside the limits.
func (h *handler) health(pattern, name string, f http.HandlerFunc) {
	count := h.counters.of(name)
	h.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		count.Add(1)
		f(w, r)
	})
}

// exact makes the pattern "/" match only the root and not every path.
func exact(pattern string) string {
	if pattern == "/" {
		return "/{$}"
	}
	return pattern
}

func served(method, path string) bool {
	return slices.ContainsFunc(api.Operations, func(op api.Operation) bool { return op.Method == method && op.Path == path })
}

func (h *handler) keyless(op api.Operation) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h.problem(w, Problem{Status: http.StatusBadRequest, Code: "bad-key", Detail: fmt.Sprintf("%s has no key; want %s %s", r.URL.Path, op.Method, op.Path)})
	}
}

// unrouted answers a request that matches no pattern.
func (h *handler) unrouted(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{"GET", "HEAD", "PUT", "PATCH", "POST", "DELETE"} {
		other := r.Clone(r.Context())
		other.Method = method
		if _, pattern := h.mux.Handler(other); pattern != "/" {
			allowed = append(allowed, method)
		}
	}
	if allowed == nil {
		h.problem(w, Problem{Status: http.StatusNotFound, Code: "no-such-route", Detail: "nothing is served at " + r.URL.Path})
		return
	}
	list := strings.Join(allowed, ", ")
	w.Header().Set("Allow", list)
	h.problem(w, Problem{Status: http.StatusMethodNotAllowed, Code: "method-not-allowed", Detail: fmt.Sprintf("%s takes %s, not %s", r.URL.Path, list, r.Method)})
}

// holding checks a right for a handler that is not an operation.
func (h *handler) holding(right api.Right, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := api.GrantOf(r.Context()).Check(right); err != nil {
			h.fail(w, err)
			return
		}
		next(w, r)
	}
}

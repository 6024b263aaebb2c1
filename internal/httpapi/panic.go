package httpapi

import (
	"fmt"
	"net/http"
	"runtime/debug"
)

// recovered answers a request whose handler panicked with an internal error, which it logs and
// counts. net/http alone would close the connection without an answer.
func (h *handler) recovered(out *tracked, r *http.Request, p any) {
	if p == http.ErrAbortHandler {
		panic(p)
	}
	h.cfg.Logger.Error("a request panicked; please report this", "method", r.Method, "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
	if h.cfg.Panicked != nil {
		h.cfg.Panicked()
	}
	if out.began {
		panic(http.ErrAbortHandler) // so that half an answer does not look whole
	}
	h.problem(out, Problem{Status: http.StatusInternalServerError, Code: "internal", Detail: fmt.Sprint("panic: ", p)})
}

// tracked is the ResponseWriter of a request, with what is known of its client.
type tracked struct {
	http.ResponseWriter
	began bool
	conn  *conn
	place *place // nil until the request was let in
	token *token // the token of the request, if the server has tokens
}

// caller names the client in logs.
func (t *tracked) caller() string {
	if t.token != nil {
		return "token " + t.token.grant.Name
	}
	return "address " + t.conn.address
}

func (t *tracked) WriteHeader(status int) {
	t.began = true
	t.ResponseWriter.WriteHeader(status)
}

func (t *tracked) Write(b []byte) (int, error) {
	t.began = true
	return t.ResponseWriter.Write(b)
}

// Unwrap is called by http.ResponseController.
func (t *tracked) Unwrap() http.ResponseWriter { return t.ResponseWriter }

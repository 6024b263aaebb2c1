package httpapi

import (
	"fmt"
	"net/http"
	"runtime/debug"
)

// recovering answers a request that panicked as a fault of ours, which is logged and
// counted: net/http would end the connection and say little.
func (h handler) recovering(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out := &tracked{ResponseWriter: w}
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if p == http.ErrAbortHandler {
				panic(p)
			}
			h.cfg.Logger.Error("a request panicked; please report this", "method", r.Method, "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
			if h.cfg.Panicked != nil {
				h.cfg.Panicked()
			}
			if out.began {
				panic(http.ErrAbortHandler) // half an answer must not look whole
			}
			problem(w, Problem{Status: http.StatusInternalServerError, Code: "internal", Detail: fmt.Sprint("panic: ", p)})
		}()
		next.ServeHTTP(out, r)
	})
}

// tracked notes whether an answer has begun.
type tracked struct {
	http.ResponseWriter
	began bool
}

func (t *tracked) WriteHeader(status int) {
	t.began = true
	t.ResponseWriter.WriteHeader(status)
}

func (t *tracked) Write(b []byte) (int, error) {
	t.began = true
	return t.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (t *tracked) Unwrap() http.ResponseWriter { return t.ResponseWriter }

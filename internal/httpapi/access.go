package httpapi

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

// admitted passes a request to next if its token is good and the limits have room for it. A public
// handler needs no token.
func (h *handler) admitted(count *atomic.Uint64, public, stream bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		count.Add(1)
		out := w.(*tracked)
		if full := out.conn.full; full != nil {
			h.fail(w, full)
			return
		}
		who := out.conn.client
		if h.cfg.Tokens != nil && !public {
			if out.token = h.caller(r); out.token == nil {
				h.unknown(w, r)
				return
			}
			who = out.token.client
			r = r.WithContext(api.WithGrant(r.Context(), out.token.grant))
		}
		r = r.WithContext(api.WithCaller(r.Context(), out.caller()))
		stream := stream || r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), eventStream)
		at, refused := h.load.enter(who, stream)
		if refused != nil {
			h.problem(w, *refused)
			return
		}
		out.place = &at
		defer at.leave()
		if stream {
			w.Header().Set("X-Accel-Buffering", "no") // else nginx buffers the stream
			ctx, cancel := h.whileGood(r.Context(), out)
			defer cancel(nil)
			r = r.WithContext(ctx)
		}
		next.ServeHTTP(w, r)
	})
}

var errRevoked = errors.New("the token was withdrawn")

// whileGood returns a context that ends when the token of a request is withdrawn or its rights
// change. The caller must call cancel.
func (h *handler) whileGood(ctx context.Context, out *tracked) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	if out.token == nil {
		return ctx, cancel
	}
	go func() {
		select {
		case <-ctx.Done():
		case <-out.token.grant.Withdrawn:
			cancel(errRevoked)
		}
	}()
	return ctx, cancel
}

const eventStream = "text/event-stream"

// caller returns the token that a request shows in its header or by the cookie of a login, nil if
// it shows none that is good.
func (h *handler) caller(r *http.Request) *token {
	if v := r.Header.Get("Authorization"); v != "" {
		scheme, text, _ := strings.Cut(v, " ")
		if !strings.EqualFold(scheme, "Bearer") || len(text) > maxToken {
			return nil
		}
		return h.cfg.Tokens.find(strings.TrimSpace(text))
	}
	if hash, ok := h.logins.of(r); ok && (safe(r) || ownPage(r)) {
		return h.cfg.Tokens.byHash(hash)
	}
	return nil
}

func safe(r *http.Request) bool { return r.Method == http.MethodGet || r.Method == http.MethodHead }

// ownPage reports whether the browser says that a page of this server sent the request. Browsers
// send cookies to every port of a machine, so a cookie alone proves nothing.
func ownPage(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site == "same-origin"
	}
	return sameOrigin(r.Header.Get("Origin"), r)
}

// unknown answers a request without a good token. A person's browser is sent to the login page.
func (h *handler) unknown(w http.ResponseWriter, r *http.Request) {
	if h.loginPage && r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/html") {
		h.counters.refuse("unauthorized")
		http.Redirect(w, r, "/login?"+url.Values{"next": {r.URL.RequestURI()}}.Encode(), http.StatusSeeOther)
		return
	}
	challenge, detail := `Bearer realm="sentinel-peer"`, "this server needs a token: Authorization: Bearer …"
	if r.Header.Get("Authorization") != "" {
		challenge, detail = challenge+`, error="invalid_token"`, "this token is not valid here"
	}
	w.Header().Set("WWW-Authenticate", challenge)
	h.problem(w, Problem{Status: http.StatusUnauthorized, Code: "unauthorized", Detail: detail})
}

package httpapi

import (
	crand "crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// logins holds the browsers whose user has shown a token. Their cookie is random and not the token,
// since browsers send cookies to every port of a machine, and so to other servers.
type logins struct {
	mu   sync.Mutex
	open map[[sha256.Size]byte]login // by the hash of the cookie
}

type login struct {
	token [sha256.Size]byte // the hash of the token
	until time.Time
}

const (
	loginTime   = 12 * time.Hour
	maxLogins   = 1000
	tokenLogins = 50 // the most logins with one token; a further one replaces the oldest
	maxForm     = 8 << 10
)

// cookieName tells daemons on one machine apart.
func cookieName(r *http.Request) string {
	_, port, _ := net.SplitHostPort(r.Host)
	return "sentinel-peer-" + port
}

// begin returns the content of a new cookie.
func (ls *logins) begin(token [sha256.Size]byte) (string, error) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	now := time.Now()
	own := 0
	var oldest [sha256.Size]byte
	for k, l := range ls.open {
		if !now.Before(l.until) {
			delete(ls.open, k)
			continue
		}
		if l.token == token {
			if own++; own == 1 || l.until.Before(ls.open[oldest].until) {
				oldest = k
			}
		}
	}
	if own >= tokenLogins {
		delete(ls.open, oldest)
	}
	if len(ls.open) >= maxLogins {
		return "", fmt.Errorf("%d browsers are logged in, which is the most", maxLogins)
	}
	secret := crand.Text()
	ls.open[sha256.Sum256([]byte(secret))] = login{token, now.Add(loginTime)}
	return secret, nil
}

// of returns the hash of the token with which the browser logged in.
func (ls *logins) of(r *http.Request) (token [sha256.Size]byte, ok bool) {
	c, err := r.Cookie(cookieName(r))
	if err != nil {
		return token, false
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l, ok := ls.open[sha256.Sum256([]byte(c.Value))]
	return l.token, ok && time.Now().Before(l.until)
}

func (ls *logins) end(r *http.Request) {
	if c, err := r.Cookie(cookieName(r)); err == nil {
		ls.mu.Lock()
		defer ls.mu.Unlock()
		delete(ls.open, sha256.Sum256([]byte(c.Value)))
	}
}

// login handles the form of the login page. Its fields are token, and next, the path to go on to. A
// wrong token leads back to the page, with failed=1.
func (h *handler) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		p := Problem{Status: http.StatusBadRequest, Code: "bad-request", Detail: "body: want a form with the field token: " + err.Error()}
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			p.Status, p.Code = http.StatusRequestEntityTooLarge, "too-large"
		}
		h.problem(w, p)
		return
	}
	next := ownPath(r.PostForm.Get("next"))
	if h.cfg.Tokens == nil {
		http.Redirect(w, r, next, http.StatusSeeOther)
		return
	}
	t := h.cfg.Tokens.find(r.PostForm.Get("token"))
	if t == nil {
		if !h.loginPage {
			h.unknown(w, r)
			return
		}
		h.counters.refuse("unauthorized")
		http.Redirect(w, r, "/login?"+url.Values{"failed": {"1"}, "next": {next}}.Encode(), http.StatusSeeOther)
		return
	}
	secret, err := h.logins.begin(t.hash)
	if err != nil {
		h.problem(w, *busy("%v", err))
		return
	}
	h.setCookie(w, r, secret, int(loginTime/time.Second))
	http.Redirect(w, r, next, http.StatusSeeOther)
}

func (h *handler) logout(w http.ResponseWriter, r *http.Request) {
	h.logins.end(r)
	h.setCookie(w, r, "", -1)
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

func (h *handler) setCookie(w http.ResponseWriter, r *http.Request, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{
		Name: cookieName(r), Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil,
	})
}

// ownPath returns next if it is a path on this server, else "/".
func ownPath(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(u.Path, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\x00\r\n\t") {
		return "/"
	}
	return next
}

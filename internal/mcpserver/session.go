package mcpserver

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

const (
	maxSessions = 2000
	// A token may have a fourth of the sessions, and an address half of them: it may be that of
	// a proxy with many clients.
	tokenShare, addressShare = 4, 2
	// sessionTimeout ends a session this long after its last request, unless a stream is open.
	// Everything that was held for it has ended by then.
	sessionTimeout = maxHold + time.Minute
	// sessionGrace ends a session whose stream broke, unless its client sends another request.
	sessionGrace   = 15 * time.Second
	maxSessionID   = 1024 // bytes
	maxNameInID    = 128
	firstVersion   = "2025-03-26" // the version of the protocol where a request names none
	lastWithBatch  = "2025-03-26"
	headerSession  = "Mcp-Session-Id"
	headerProtocol = "Mcp-Protocol-Version"
)

var errEnded = errors.New("the session has ended")

// session is what the daemon knows of a client between its requests. Any daemon can make it anew
// from its id, except for its subscriptions.
type session struct {
	s              *Server
	id             string
	token, address string      // of the client that began it
	revived        atomic.Bool // it was made anew, and its client was not told yet
	conn           *conn
	sdk            *mcp.ServerSession
	ended          chan struct{} // closed at its end, when what is held for it ends too
	end            func()

	mu     sync.Mutex
	busy   int  // the number of requests and streams under way
	orphan bool // its stream broke, and no request came since
	timer  *time.Timer
}

// sessions are the sessions of the daemon.
type sessions struct {
	mu                 sync.Mutex
	by                 map[string]*session
	ofToken, ofAddress map[string]int
}

// refusal is the reason why a request gets no session.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return r.text }

// sessionOf returns the session with the id of a request. A session that is not known, after a
// restart or at another daemon, is made anew.
func (s *Server) sessionOf(r *http.Request, id string) (*session, error) {
	if len(id) > maxSessionID || strings.ContainsFunc(id, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return nil, &refusal{http.StatusBadRequest, "the id of a session has up to 1,024 visible ASCII characters"}
	}
	s.sessions.mu.Lock()
	x := s.sessions.by[id]
	s.sessions.mu.Unlock()
	if x == nil {
		version := cmp.Or(r.Header.Get(headerProtocol), firstVersion)
		return s.newSession(r, id, &mcp.InitializeParams{ProtocolVersion: version, ClientInfo: clientIn(id)})
	}
	if x.token != "" && x.token != tokenOf(r) {
		return nil, &refusal{http.StatusForbidden, "the session belongs to another token"}
	}
	return x, nil
}

func tokenOf(r *http.Request) string {
	if grant := api.GrantOf(r.Context()); grant != nil {
		return grant.Name
	}
	return ""
}

// newSession begins a session. With an id, it is known by that id until it ends; with parameters,
// it has been initialized already.
func (s *Server) newSession(r *http.Request, id string, params *mcp.InitializeParams) (*session, error) {
	x := &session{s: s, id: id, token: tokenOf(r), conn: newConn(id), ended: make(chan struct{})}
	x.address, _, _ = net.SplitHostPort(r.RemoteAddr)
	x.revived.Store(params != nil)
	x.end = sync.OnceFunc(x.finish)
	var opts mcp.ServerSessionOptions
	if params != nil {
		opts.State = &mcp.ServerSessionState{InitializeParams: params, InitializedParams: &mcp.InitializedParams{}}
	}
	sdk, err := s.mcp.Connect(context.WithoutCancel(r.Context()), x.conn, &opts)
	if err != nil {
		return nil, err
	}
	x.sdk = sdk
	x.timer = time.AfterFunc(sessionTimeout, x.end)
	if id != "" {
		other, err := s.sessions.add(x, s.most)
		if other != nil || err != nil {
			x.end()
			return other, err
		}
	}
	if grant := api.GrantOf(r.Context()); id != "" && grant != nil && grant.Withdrawn != nil && s.begin(&s.streams) {
		go func() {
			defer s.streams.Done()
			select {
			case <-grant.Withdrawn:
				x.end()
			case <-x.ended:
			}
		}()
	}
	return x, nil
}

// add makes a session known, or returns the session that has its id already.
func (t *sessions) add(x *session, most int) (*session, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.by[x.id] != nil && t.by[x.id].token == x.token:
		return t.by[x.id], nil
	case len(t.by) >= most || t.by[x.id] != nil:
		return nil, &refusal{http.StatusServiceUnavailable, "too many sessions; end some, or wait until idle ones have timed out"}
	case x.token != "" && t.ofToken[x.token] >= max(most/tokenShare, 1):
		return nil, &refusal{http.StatusTooManyRequests, fmt.Sprintf("token %q has too many sessions; end some, or wait until idle ones have timed out", x.token)}
	case t.ofAddress[x.address] >= max(most/addressShare, 1):
		return nil, &refusal{http.StatusTooManyRequests, "this address has too many sessions; end some, or wait until idle ones have timed out"}
	}
	t.by[x.id] = x
	t.ofToken[x.token]++
	t.ofAddress[x.address]++
	return nil, nil
}

func (t *sessions) remove(x *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.by[x.id] != x {
		return
	}
	delete(t.by, x.id)
	for counts, of := range map[*map[string]int]string{&t.ofToken: x.token, &t.ofAddress: x.address} {
		if (*counts)[of]--; (*counts)[of] == 0 {
			delete(*counts, of)
		}
	}
}

func (t *sessions) all() (list []*session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, x := range t.by {
		list = append(list, x)
	}
	return list
}

// begins records that a request or a stream of the client is under way, until the returned function
// is called.
func (x *session) begins(stream bool) (over func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.busy++
	x.orphan = false
	x.timer.Stop()
	return sync.OnceFunc(func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.busy--
		x.orphan = x.orphan || stream
		if x.busy == 0 && x.orphan {
			x.timer.Reset(x.s.grace)
		} else if x.busy == 0 {
			x.timer.Reset(sessionTimeout)
		}
	})
}

// finish ends calls under way, what is held for the session, and its stream.
func (x *session) finish() {
	x.s.sessions.remove(x)
	close(x.ended)
	x.timer.Stop()
	x.conn.cancel(nil)
	_ = x.sdk.Close() // the connection is of this package, and its Close does not fail
}

// newID returns the id of a session. Nobody can guess it, and it tells a daemon that does not know
// the session which client began it.
func newID(initialize *message) string {
	var p mcp.InitializeParams
	if json.Unmarshal(initialize.Params, &p) != nil || p.ClientInfo == nil {
		return rand.Text()
	}
	name, _ := json.Marshal([]string{prefix(p.ClientInfo.Name, maxNameInID), prefix(p.ClientInfo.Version, maxNameInID)}) // strings always encode
	return rand.Text() + "." + base64.RawURLEncoding.EncodeToString(name)
}

// clientIn returns the client in the id of a session.
func clientIn(id string) *mcp.Implementation {
	_, name, _ := strings.Cut(id, ".")
	var p []string
	if raw, err := base64.RawURLEncoding.DecodeString(name); err != nil || json.Unmarshal(raw, &p) != nil || len(p) != 2 {
		return nil
	}
	return &mcp.Implementation{Name: p[0], Version: p[1]}
}

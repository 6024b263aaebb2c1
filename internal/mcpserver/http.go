package mcpserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

const (
	// stateless is the first version of the protocol without sessions.
	stateless   = "2026-07-28"
	mediaJSON   = "application/json"
	mediaEvents = "text/event-stream"
	// heartbeat is how often a quiet stream sends a comment: proxies end a stream that is quiet
	// for a minute.
	heartbeat = 15 * time.Second
	pulse     = ": beat\n\n"
)

// ServeHTTP serves the streamable HTTP transport of MCP.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p := &prompt{ResponseWriter: w, out: http.NewResponseController(w)}
	version := r.Header.Get(headerProtocol)
	switch {
	case r.Method == http.MethodPost:
		s.servePost(p, r)
	case r.Method != http.MethodGet && r.Method != http.MethodDelete || version >= stateless:
		w.Header().Set("Allow", "GET, POST, DELETE")
		http.Error(p, "want POST, or GET or DELETE in a session", http.StatusMethodNotAllowed)
	case r.Header.Get(headerSession) == "":
		http.Error(p, r.Method+" needs the header "+headerSession, http.StatusBadRequest)
	case r.Method == http.MethodGet:
		s.serveStream(p, r)
	default:
		s.serveDelete(p, r)
	}
}

func (s *Server) servePost(w *prompt, r *http.Request) {
	if media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); media != mediaJSON {
		http.Error(w, "want Content-Type: "+mediaJSON, http.StatusUnsupportedMediaType)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			http.Error(w, fmt.Sprintf("the body exceeds %d bytes", maxBody), http.StatusRequestEntityTooLarge)
		}
		return // the client broke off
	}
	list, batch, err := messages(body)
	version := r.Header.Get(headerProtocol)
	switch {
	case err != nil:
		bad, _ := errors.AsType[*malformed](err)
		fail(w, http.StatusBadRequest, bad.code, bad.text)
	case version >= stateless || !batch && list[0].sessionless():
		s.servePlain(w, r, list, body)
	case version != "" && !slices.Contains(mcp.SupportedProtocolVersions(), version):
		fail(w, http.StatusBadRequest, codeInvalid, fmt.Sprintf("%s: %q is none of %s", headerProtocol, version, strings.Join(mcp.SupportedProtocolVersions(), ", ")))
	case batch && version > lastWithBatch:
		fail(w, http.StatusBadRequest, codeInvalid, "batches are not allowed since version "+lastWithBatch+" of the protocol")
	default:
		s.serveMessages(w, r, list, batch)
	}
}

// fail answers with an error that belongs to no message.
func fail(w http.ResponseWriter, status, code int, text string) {
	raw, _ := encode(fields{"jsonrpc", "2.0", "id", nil, "error", fields{"code", code, "message", text}}) // always encodes
	w.Header().Set("Content-Type", mediaJSON)
	w.WriteHeader(status)
	_, _ = w.Write(raw)
}

// servePlain serves a request of the protocol without sessions.
func (s *Server) servePlain(p *prompt, r *http.Request, list []*message, body []byte) {
	listens := r.Header.Get("Mcp-Method") == "subscriptions/listen"
	group := &s.running
	if listens {
		group = &s.streams // the stream ends with the request only
	}
	if !s.begin(group) {
		stopping(p)
		return
	}
	defer group.Done()
	var m *message
	if len(list) == 1 {
		m = list[0]
	}
	w, marked := newEcho(p, m, body, eventsOnly(r))
	ctx := r.Context()
	if listens {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(s.closing, cancel)()
		w.Header().Set("X-Accel-Buffering", "no")
		defer w.beat()()
	}
	r = r.Clone(ctx)
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(marked)), int64(len(marked))
	r.Header.Set("Accept", mediaJSON+", "+mediaEvents)
	r.Header.Set("Authorization", "Bearer verified")
	// The SDK passes on to a call what the verifier of the token returned, and no other part of
	// the request's context. So the verifier returns the caller.
	verified := func(ctx context.Context, _ string, _ *http.Request) (*auth.TokenInfo, error) {
		return (&caller{grant: api.GrantOf(ctx), ctx: ctx}).info(), nil
	}
	auth.RequireBearerToken(verified, &auth.RequireBearerTokenOptions{AllowMissingExpiration: true})(s.plain).ServeHTTP(w, r)
}

// serveMessages serves messages of a session, or of a client that has none.
func (s *Server) serveMessages(w *prompt, r *http.Request, list []*message, batch bool) {
	if !s.begin(&s.running) {
		stopping(w)
		return
	}
	defer s.running.Done()
	x, begins, err := s.sessionFor(r, list)
	if err != nil {
		refuse(w, err)
		return
	}
	defer x.begins(false)()
	if x.id == "" {
		defer x.end()
	}
	answers, err := x.ask(r, list)
	if begins {
		if x.sdk.InitializeParams() == nil {
			x.end() // the session was not initialized
		} else {
			w.Header().Set(headerSession, x.id)
		}
	}
	switch {
	case r.Context().Err() != nil: // the client does not read the answer any more
	case err != nil:
		refuse(w, err)
	case len(answers) == 0:
		w.WriteHeader(http.StatusAccepted)
	default:
		answer(w, r, answers, batch)
	}
}

// sessionFor returns the session of a request. An initialize request begins one. A client that
// never initialized gets a session for this request alone.
func (s *Server) sessionFor(r *http.Request, list []*message) (x *session, begins bool, err error) {
	i := slices.IndexFunc(list, func(m *message) bool { return m.Method == "initialize" && m.call() })
	if i >= 0 {
		x, err = s.newSession(r, newID(list[i]), nil)
		return x, true, err
	}
	if id := r.Header.Get(headerSession); id != "" {
		x, err = s.sessionOf(r, id)
		return x, false, err
	}
	x, err = s.newSession(r, "", &mcp.InitializeParams{ProtocolVersion: firstVersion})
	return x, false, err
}

// ask passes messages to the SDK, and returns the answers to those that are calls. A call ends
// when its client goes.
func (x *session) ask(r *http.Request, list []*message) (answers []json.RawMessage, err error) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	var asked []*question
	for _, m := range list {
		switch m.Method {
		case "": // an answer, though the server asks nothing
			continue
		case "notifications/cancelled":
			var p struct{ RequestID json.RawMessage }
			if json.Unmarshal(m.Params, &p) == nil && p.RequestID != nil {
				x.conn.cancel(p.RequestID)
			}
			continue
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		from := &caller{grant: api.GrantOf(ctx), ctx: ctx, session: x}
		q, err := x.conn.post(m, &mcp.RequestExtra{TokenInfo: from.info(), Header: r.Header}, cancel)
		if err != nil {
			return nil, err
		}
		if q != nil {
			asked = append(asked, q)
		}
	}
	for _, q := range asked {
		select {
		case a := <-q.answer:
			answers = append(answers, a)
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-x.conn.closed:
			return nil, errEnded
		}
	}
	return answers, nil
}

// eventsOnly reports whether a client accepts events but not JSON.
func eventsOnly(r *http.Request) bool {
	accept := strings.ToLower(strings.Join(r.Header.Values("Accept"), ","))
	takes := func(names ...string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return strings.Contains(accept, name) })
	}
	return takes(mediaEvents, "text/*") && !takes(mediaJSON, "application/*", "*/*")
}

func answer(w http.ResponseWriter, r *http.Request, answers []json.RawMessage, batch bool) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if eventsOnly(r) {
		h.Set("Content-Type", mediaEvents)
		for _, a := range answers {
			_, _ = w.Write(event(a)) // on an error the client has gone
		}
		return
	}
	h.Set("Content-Type", mediaJSON)
	raw := []byte(answers[0])
	if batch {
		raw, _ = encode(answers) // the answers are valid JSON
	}
	_, _ = w.Write(raw)
}

// refuse answers with the error for which there is no answer of the SDK.
func refuse(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	if r, ok := errors.AsType[*refusal](err); ok {
		status = r.status
	} else if errors.Is(err, errEnded) {
		status = http.StatusNotFound // the protocol demands it
	}
	http.Error(w, err.Error(), status)
}

func stopping(w http.ResponseWriter) {
	http.Error(w, errStopping.Error(), http.StatusServiceUnavailable)
}

// serveStream sends the notifications of a session, until the session or the client ends.
func (s *Server) serveStream(w *prompt, r *http.Request) {
	if !s.begin(&s.streams) {
		stopping(w)
		return
	}
	defer s.streams.Done()
	x, err := s.sessionOf(r, r.Header.Get(headerSession))
	if err != nil {
		refuse(w, err)
		return
	}
	defer x.begins(true)()
	superseded := x.conn.out.open()
	h := w.Header()
	h.Set("Content-Type", mediaEvents)
	h.Set("Cache-Control", "no-cache, no-transform")
	h.Set("X-Accel-Buffering", "no") // else nginx buffers the stream
	text := pulse
	if x.revived.Swap(false) { // the subscriptions of the session are lost
		text += string(event([]byte(`{"jsonrpc":"2.0","method":"notifications/resources/list_changed"}`)))
	}
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		if _, err := io.WriteString(w, text); err != nil || w.FlushError() != nil {
			return
		}
		text = ""
		select {
		case <-x.conn.out.more:
			for _, raw := range x.conn.out.take() {
				text += string(event(raw))
			}
		case <-tick.C:
			text = pulse
		case <-superseded:
			return
		case <-x.conn.closed:
			return
		case <-r.Context().Done():
			return
		case <-s.closing.Done():
			return
		}
	}
}

func (s *Server) serveDelete(w *prompt, r *http.Request) {
	if !s.begin(&s.running) {
		stopping(w)
		return
	}
	defer s.running.Done()
	x, err := s.sessionOf(r, r.Header.Get(headerSession))
	if err != nil {
		refuse(w, err)
		return
	}
	x.end()
	w.WriteHeader(http.StatusNoContent)
}

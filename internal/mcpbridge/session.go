package mcpbridge

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"sync"
)

// session is the daemon's session of the client.
type session struct {
	mu      sync.Mutex
	id      string
	version string
	uris    map[string]bool // the resources to which the client has subscribed
	listens bool            // the stream of the session is open
}

// header adds the id of the session to a request, if there is one, and returns the id.
func (s *session) header(h http.Header) (id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.id != "" {
		h.Set("Mcp-Session-Id", s.id)
		h.Set("Mcp-Protocol-Version", s.version)
	}
	return s.id
}

func (s *session) begin(id, version string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.id, s.version, s.uris = id, version, map[string]bool{}
}

// listen reports whether there is a session whose stream nobody has opened. If so, the caller must
// open it.
func (s *session) listen() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := s.id != "" && !s.listens
	s.listens = s.listens || first
	return first
}

// subscribed records a subscription, or its end, to which the daemon agreed.
func (s *session) subscribed(uri string, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if on && s.uris != nil {
		s.uris[uri] = true
	} else {
		delete(s.uris, uri)
	}
}

func (s *session) subscriptions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.uris))
}

// greet begins a session with the client's initialize, and returns the daemon's answer.
func (b *bridge) greet(ctx context.Context, m *message) ([]byte, error) {
	res, body, err := b.post(ctx, m, false)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, &refused{res.StatusCode, body}
	}
	var answer struct {
		Result struct{ ProtocolVersion string }
	}
	_ = json.Unmarshal(body, &answer) // an error has no result, and begins no session
	if id := res.Header.Get("Mcp-Session-Id"); id != "" && answer.Result.ProtocolVersion != "" {
		b.session.begin(id, answer.Result.ProtocolVersion)
	}
	return body, nil
}

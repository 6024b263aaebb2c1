package mcpbridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
)

// session is what the daemon knows the client by.
type session struct {
	mu       sync.Mutex
	renewing sync.Mutex // one at a time
	id       string
	version  string
	greeting *message        // the client's initialize
	uris     map[string]bool // subscribed to
	listens  bool            // to the daemon's stream, from the first subscription on
}

func (s *session) header(h http.Header) (id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.id != "" {
		h.Set("Mcp-Session-Id", s.id)
		h.Set("Mcp-Protocol-Version", s.version)
	}
	return s.id
}

func (s *session) begin(id, version string, greeting *message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.id, s.version, s.greeting = id, version, greeting
	if s.uris == nil {
		s.uris = map[string]bool{}
	}
}

// subscribed notes what the daemon has agreed to, and reports whether it is the first.
func (s *session) subscribed(uri string, on bool) (first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.uris == nil {
		return false
	}
	if on {
		first, s.listens = !s.listens, true
		s.uris[uri] = true
	} else {
		delete(s.uris, uri)
	}
	return first
}

func (s *session) current() (id string, greeting *message, uris []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.id, s.greeting, slices.Sorted(maps.Keys(s.uris))
}

var errNoSession = errors.New("the client has not initialized")

// greet begins a session by the client's initialize and returns the daemon's answer.
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
	_ = json.Unmarshal(body, &answer) // an error has no result, and begins none
	if id := res.Header.Get("Mcp-Session-Id"); id != "" && answer.Result.ProtocolVersion != "" {
		b.session.begin(id, answer.Result.ProtocolVersion, m)
	}
	return body, nil
}

// renew begins a session again after the daemon lost the one of that id.
func (b *bridge) renew(ctx context.Context, lost string) error {
	b.session.renewing.Lock()
	defer b.session.renewing.Unlock()
	id, greeting, uris := b.session.current()
	if id != lost {
		return nil // done meanwhile
	}
	if greeting == nil {
		return errNoSession
	}
	if _, err := b.greet(ctx, greeting); err != nil {
		return err
	}
	follow := []message{{line: []byte(`{"jsonrpc":"2.0","method":"notifications/initialized"}`), Method: "notifications/initialized"}}
	for i, uri := range uris {
		line := encode(map[string]any{"jsonrpc": "2.0", "id": fmt.Sprintf("bridge-%d", i), "method": "resources/subscribe", "params": map[string]any{"uri": uri}})
		follow = append(follow, message{line: line, Method: "resources/subscribe"})
	}
	for _, m := range follow {
		res, body, err := b.post(ctx, &m, true)
		if err != nil {
			return err
		}
		if res.StatusCode >= 300 {
			return &refused{res.StatusCode, body}
		}
	}
	return nil
}

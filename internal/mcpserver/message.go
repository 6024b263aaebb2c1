package mcpserver

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// message is a message that a client posts. Its id keeps the bytes that the client wrote.
type message struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Method  string          `json:"method"`
	Params  json.RawMessage `json:"params"`
}

func (m *message) call() bool { return m.Method != "" && m.ID != nil }

// sessionless reports whether a message is of the protocol without sessions.
func (m *message) sessionless() bool {
	var params struct {
		Meta struct {
			Version *string `json:"io.modelcontextprotocol/protocolVersion"`
		} `json:"_meta"`
	}
	return json.Unmarshal(m.Params, &params) == nil && params.Meta.Version != nil
}

// These are the JSON-RPC error codes of this package.
const (
	codeParse   = -32700
	codeInvalid = -32600
)

// malformed is the reason why a body is not a message.
type malformed struct {
	code int
	text string
}

func (m *malformed) Error() string { return m.text }

// messages reads a body: one message or, in old versions of the protocol, a batch.
func messages(body []byte) (list []*message, batch bool, err error) {
	body = bytes.TrimSpace(body)
	switch {
	case len(body) == 0:
		return nil, false, &malformed{codeParse, "want a non-empty body with a JSON-RPC message"}
	case !json.Valid(body):
		return nil, false, &malformed{codeParse, "malformed body: it is not JSON"}
	}
	if batch = body[0] == '['; batch {
		err = json.Unmarshal(body, &list)
	} else {
		list = []*message{{}}
		err = json.Unmarshal(body, list[0])
	}
	if err != nil || len(list) == 0 {
		return nil, batch, &malformed{codeInvalid, "malformed body: want a JSON-RPC message"}
	}
	for _, m := range list {
		if m == nil || m.Version != "2.0" {
			return nil, batch, &malformed{codeInvalid, `malformed body: want "jsonrpc":"2.0"`}
		}
		if string(m.ID) == "null" {
			if m.Method != "" {
				return nil, batch, &malformed{codeInvalid, "malformed body: an id is text or a number, not null; a notification has none"}
			}
			m.ID = nil
		}
		if m.ID != nil && strings.IndexByte(`"-0123456789`, m.ID[0]) < 0 {
			return nil, batch, &malformed{codeInvalid, "malformed body: an id is text or a number"}
		}
	}
	return list, batch, nil
}

// withID returns a message with another id.
func withID(raw []byte, id json.RawMessage) ([]byte, error) {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, err
	}
	m["id"] = id
	return encode(m)
}

// echo is the response to a call of the protocol without sessions. The SDK sees a mark as the id,
// which occurs nowhere else in the response; echo replaces it by the client's id.
type echo struct {
	*prompt
	mark   []byte // as JSON; nil if the message has no id
	id     []byte
	events bool // the client accepts only events

	mu    sync.Mutex // guards wraps and the prompt
	wraps bool       // JSON is sent as an event
	began bool
}

// newEcho returns the response, and the body with the mark for the SDK.
func newEcho(p *prompt, m *message, body []byte, events bool) (*echo, []byte) {
	e := &echo{prompt: p, events: events}
	if m == nil || m.ID == nil {
		return e, body
	}
	e.id, e.mark = m.ID, []byte(`"`+rand.Text()+`"`)
	marked, err := withID(body, e.mark)
	if err != nil {
		return e, body
	}
	return e, marked
}

// WriteHeader changes the type of an answer to events where the client accepts only those.
func (e *echo) WriteHeader(status int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.begin(status)
}

func (e *echo) begin(status int) {
	e.began = true
	if h := e.Header(); e.events && strings.HasPrefix(h.Get("Content-Type"), mediaJSON) {
		e.wraps = true
		h.Set("Content-Type", mediaEvents)
	}
	e.prompt.WriteHeader(status)
}

func (e *echo) Write(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.began {
		e.begin(http.StatusOK)
	}
	out := b
	if e.mark != nil {
		out = bytes.ReplaceAll(b, e.mark, e.id)
	}
	if e.wraps {
		out = event(out)
	}
	_, err := e.prompt.Write(out)
	return len(b), err
}

// FlushError is called by http.ResponseController. Heartbeats come between messages.
func (e *echo) FlushError() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.prompt.FlushError()
}

// beat sends heartbeats on a stream of events, for proxies on the way, until the returned function
// is called.
func (e *echo) beat() (stop func()) {
	done := make(chan struct{})
	var ended sync.WaitGroup
	ended.Go(func() {
		tick := time.NewTicker(heartbeat)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				e.mu.Lock()
				if e.began {
					_, _ = io.WriteString(e.prompt, pulse) // on an error the client has gone
					_ = e.prompt.FlushError()
				}
				e.mu.Unlock()
			case <-done:
				return
			}
		}
	})
	return func() { close(done); ended.Wait() }
}

// event returns a message as a server-sent event. No library is used: an event is two lines.
func event(raw []byte) []byte {
	return append(append([]byte("event: message\ndata: "), raw...), "\n\n"...)
}

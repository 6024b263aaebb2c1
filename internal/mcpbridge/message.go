package mcpbridge

import (
	"encoding/json"
	"net/http"
	"time"
)

// message is the part of a message that the bridge reads.
type message struct {
	ID     json.RawMessage
	Method string
	Params struct {
		ProtocolVersion string
		Name, URI       string
		Meta            struct {
			Version string `json:"io.modelcontextprotocol/protocolVersion"`
		} `json:"_meta"`
	}
	line []byte
}

// These are the codes of JSON-RPC, and those of the bridge.
const (
	codeParse       = -32700
	codeInvalid     = -32600
	codeUnavailable = -32000
)

// fault is the reason why a line is not a message.
type fault struct {
	code int
	text string
}

func (f *fault) Error() string { return f.text }

// parse reads a line. It leaves errors in the parameters to the daemon.
func parse(line []byte) (m message, err error) {
	if !json.Valid(line) {
		return m, &fault{codeParse, "the line is not JSON"}
	}
	var envelope struct {
		ID     json.RawMessage
		Method string
		Params json.RawMessage
	}
	if line[0] == '[' {
		return m, &fault{codeInvalid, "batches are not supported; send one message a line"}
	}
	if json.Unmarshal(line, &envelope) != nil {
		return m, &fault{codeInvalid, "the line is not a JSON-RPC message"}
	}
	m.line, m.ID, m.Method = line, envelope.ID, envelope.Method
	_ = json.Unmarshal(envelope.Params, &m.Params)
	if string(m.ID) == "null" {
		m.ID = nil
	}
	return m, nil
}

func (m *message) request() bool { return m.ID != nil }

// stateless is the first version of the protocol without sessions. Each request of it names the
// version, and has headers that repeat a part of the body.
const stateless = "2026-07-28"

func (m *message) sessionless() bool { return m.Params.Meta.Version >= stateless }

// header sets the headers that the transport needs besides the session.
func (m *message) header(h http.Header) {
	h.Set("Content-Type", "application/json")
	h.Set("Accept", "application/json, text/event-stream")
	if !m.sessionless() {
		return
	}
	h.Set("Mcp-Protocol-Version", m.Params.Meta.Version)
	h.Set("Mcp-Method", m.Method)
	switch m.Method {
	case "tools/call", "prompts/get":
		h.Set("Mcp-Name", m.Params.Name)
	case "resources/read":
		h.Set("Mcp-Name", m.Params.URI)
	}
}

// failed returns an error as the answer to m.
func (m *message) failed(code int, text string) []byte {
	id := m.ID
	if id == nil {
		id = json.RawMessage("null")
	}
	return encode(map[string]any{"jsonrpc": "2.0", "id": id, "error": map[string]any{"code": code, "message": text}})
}

// unavailable returns the answer that the daemon did not execute m: for a call of a tool, as a
// result of the tool, which agents see; else as an error.
func (m *message) unavailable(code, text, hint string) []byte {
	if m.Method != "tools/call" {
		return m.failed(codeUnavailable, text+"; "+hint)
	}
	out := map[string]any{"success": false, "error": text, "code": code, "hint": hint, "timestamp": time.Now().UTC().Format("2006-01-02T15:04:05.000Z07:00")}
	return encode(map[string]any{"jsonrpc": "2.0", "id": m.ID, "result": map[string]any{
		"content": []any{map[string]any{"type": "text", "text": string(encode(out))}}, "structuredContent": out, "isError": true}})
}

func encode(v any) []byte {
	b, _ := json.Marshal(v) // maps with strings always encode
	return b
}

// updated returns the notification that a resource may have changed.
func updated(uri string) []byte {
	return encode(map[string]any{"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": map[string]any{"uri": uri}})
}

package mcpserver

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sentinel-peer/sentinel-peer/crdt"
)

const (
	// maxAnswer bounds the text of an answer: clients refuse more than about 25,000 tokens.
	maxAnswer = 32 << 10
	// budget is the part of maxAnswer that lists may fill; the rest is for the fields around them.
	budget = 30 << 10
	// maxShown bounds each value in an answer with several values.
	maxShown = 2 << 10
)

// fields are the names and values of a JSON object, in turn and in order.
type fields []any

// MarshalJSON writes the fields in their order.
func (f fields) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i := 0; i+1 < len(f); i += 2 {
		if i > 0 {
			b = append(b, ',')
		}
		for j, v := range f[i : i+2] {
			part, err := encode(v)
			if err != nil {
				return nil, err
			}
			if b = append(b, part...); j == 0 {
				b = append(b, ':')
			}
		}
	}
	return append(b, '}'), nil
}

// encode is json.Marshal without the escapes for HTML.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// printed returns how many bytes a part of an answer has.
func printed(v any) int {
	raw, err := encode(v)
	if err != nil {
		return 0
	}
	return len(raw)
}

// fits returns as much of a text as has at most room bytes in an answer.
func fits(text string, room int) string {
	for limit := room; ; limit = limit * 3 / 4 { // escapes make the text longer
		if part := prefix(text, limit); printed(part) <= room {
			return part
		}
	}
}

// now returns the time in the form of answers.
func now() string { return timestamp(time.Now()) }

func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }

// result returns the answer for fields, or for the error err.
func (c *call) result(f fields, err error) *mcp.CallToolResult {
	if err != nil {
		f = append(fields{"success", false}, explain(err).fields()...)
		if c.action != "" {
			f = append(f, "action", c.action)
		}
	} else {
		f = append(fields{"success", true}, f...)
	}
	if exact := c.exact(f); exact != nil {
		f = append(f, "exact_numbers", exact)
	}
	f = append(f, "timestamp", now())
	if c.warnings != nil {
		f = append(f, "warnings", c.warnings)
	}
	raw, fault := encode(f)
	if fault == nil && len(raw) > maxAnswer {
		raw, fault = encode(fields{"success", err == nil, "truncated", true, "text", fits(string(raw), budget),
			"hint", "the answer was too long and is cut here; ask for less", "timestamp", now()})
	}
	if fault != nil {
		return c.result(nil, fault)
	}
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: string(raw)}}, StructuredContent: json.RawMessage(raw), IsError: err != nil}
}

// shown returns a value as agents see it: text that is JSON is shown as that JSON.
func shown(v crdt.Value) json.RawMessage {
	raw, err := v.AppendJSON(nil)
	if err != nil || len(raw) == 0 {
		return json.RawMessage("null")
	}
	var text string
	if raw[0] == '"' && json.Unmarshal(raw, &text) == nil {
		if text = strings.TrimSpace(text); json.Valid([]byte(text)) {
			return json.RawMessage(text)
		}
	}
	return raw
}

// glimpse returns a value for a list, cut if it is long.
func glimpse(v crdt.Value) (value any, cut bool) {
	raw := shown(v)
	if len(raw) <= maxShown {
		return raw, false
	}
	return shorten(plain(raw), maxShown), true
}

// plain returns the text of a JSON string, and other JSON unchanged.
func plain(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil && raw[0] == '"' {
		return text
	}
	return string(raw)
}

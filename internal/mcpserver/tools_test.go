package mcpserver

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// tokens estimates what a text costs a model: JSON is about 3.5 bytes a token.
func tokens(text []byte) int { return len(text) * 10 / 35 }

func TestToolsAreFewAndShort(t *testing.T) {
	for _, v3 := range []bool{false, true} {
		x := serve(t, func(cfg *Config) { cfg.V3 = v3 })
		list, err := x.connect("", nil).ListTools(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := json.Marshal(list.Tools)
		var names []string
		for _, tool := range list.Tools {
			names = append(names, tool.Name)
			if strings.Contains(string(raw), `"anyOf"`) || strings.Contains(string(raw), `"oneOf"`) {
				t.Errorf("%s: a schema that some models' interfaces refuse", tool.Name)
			}
		}
		if len(names) > 15 || tokens(raw) >= 3000 {
			t.Errorf("%d tools of about %d tokens: %v", len(names), tokens(raw), names)
		}
		t.Logf("v3 %t: %d tools, %d bytes, about %d tokens", v3, len(names), len(raw), tokens(raw))
		if slices.Contains(names, "memory_usage") == v3 || slices.Contains(names, "memory_store") != v3 {
			t.Errorf("v3 %t: %v", v3, names)
		}
	}
}

func TestEverySchemaIsOne(t *testing.T) {
	for _, tool := range tools {
		var schema struct {
			Type       string
			Properties map[string]struct{ Type string }
			Required   []string
		}
		if err := json.Unmarshal(tool.schema, &schema); err != nil || schema.Type != "object" {
			t.Errorf("%s: %v", tool.name, err)
		}
		for _, name := range schema.Required {
			if _, ok := schema.Properties[name]; !ok {
				t.Errorf("%s: requires %s, which it does not have", tool.name, name)
			}
		}
	}
}

// The versions of the protocol with sessions and without.
var versions = []string{"2025-06-18", "2026-07-28"}

func each(t *testing.T, tune func(*Config), f func(t *testing.T, x *fixture, session *mcp.ClientSession)) {
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			x := serve(t, tune)
			f(t, x, x.connect(version, nil))
		})
	}
}

func TestMemoryUsage(t *testing.T) {
	each(t, nil, func(t *testing.T, x *fixture, s *mcp.ClientSession) {
		if got := s.InitializeResult().ProtocolVersion; !strings.HasSuffix(t.Name(), got) {
			t.Fatalf("speaks %s", got)
		}
		stored := x.good(s, "memory_usage", `{"action":"store","key":"plan/1","value":"{\"a\":1}"}`)
		x.shows(stored, `{"action":"store","namespace":"default","storage_type":"crdt-gossip","key":"plan/1","stored":true,"size":7,"id":"default:plan/1"}`)
		read := x.good(s, "memory_usage", `{"action":"read","key":"plan/1"}`)
		x.shows(read, `{"action":"retrieve","key":"plan/1","value":{"a":1},"found":true}`)
		if read["version"] != stored["version"] || stored["version"] == nil {
			t.Errorf("versions %v and %v", stored["version"], read["version"])
		}
		if v, _ := x.agent.Get("memory/default/plan/1"); v.String() != `"{\"a\":1}"` {
			t.Errorf("the peer holds %s", v)
		}
		x.shows(x.good(s, "memory_usage", `{"action":"retrieve","key":"plan/1","namespace":"other"}`),
			`{"value":null,"found":false,"other_namespaces":["default"]}`)

		x.good(s, "memory_usage", `{"action":"write","key":"null","value":null,"namespace":"w"}`)
		x.shows(x.good(s, "memory_usage", `{"action":"get","key":"null","namespace":"w"}`), `{"value":null,"found":true}`)
		x.good(s, "memory_usage", `{"action":"store","key":"object","value":{"deep":[1,"two"]},"namespace":"w","ttl":"3600"}`)
		x.shows(x.good(s, "memory_usage", `{"action":"retrieve","key":"object","namespace":"w"}`), `{"value":{"deep":[1,"two"]}}`)
		e, _ := x.agent.Entry("memory/w/object")
		if e.Expiry() == 0 {
			t.Error("a TTL given as text was lost")
		}

		list := x.good(s, "memory_usage", `{"action":"list","namespace":"w"}`)
		x.shows(list, `{"count":2,"total":2}`)
		first := list["entries"].([]any)[0].(map[string]any)
		x.shows(first, `{"key":"object","namespace":"w","value":{"deep":[1,"two"]},"accessCount":1}`)
		by := first["metadata"].(map[string]any)
		if by["storedBy"] != "tester 1" || first["createdAt"] == nil || first["updatedAt"] == nil {
			t.Errorf("entry %v", first)
		}
		x.shows(x.good(s, "memory_usage", `{"action":"search","value":"TWO","namespace":"w"}`), `{"pattern":"TWO","count":1}`)
		x.shows(x.good(s, "memory_usage", `{"action":"delete","key":"object","namespace":"w"}`), `{"key":"object","deleted":true}`)
		x.shows(x.good(s, "memory_usage", `{"action":"del","key":"object","namespace":"w"}`), `{"action":"delete","deleted":false}`)
		if keys, _ := x.agent.Keys("**/w/object"); len(keys) > 0 {
			t.Errorf("deleting leaves %v", keys)
		}

		warned := x.good(s, "memory_usage", `{"action":"list","namespace":"w","colour":"red","limit":"5"}`)
		if w := warned["warnings"]; w == nil || !strings.Contains(w.([]any)[0].(string), "colour") {
			t.Errorf("an unknown argument gives %v", warned)
		}
		x.bad("bad-request", s, "memory_usage", `{"action":"fly"}`)
		x.bad("bad-request", s, "memory_usage", `{}`)
		x.bad("bad-request", s, "memory_usage", `{"action":"store","key":"x"}`)
		x.bad("bad-request", s, "memory_usage", `{"action":"store","value":"x"}`)
		x.bad("bad-request", s, "memory_usage", `{"action":"store","key":"x","value":1,"ttl":"soon"}`)
	})
}

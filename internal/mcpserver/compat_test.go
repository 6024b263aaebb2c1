package mcpserver

import (
	"encoding/json"
	"os"
	"testing"
)

// shape returns a value with the names of JSON types in place of its values. Of a list, one element
// stands for all.
func shape(v any) any {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "bool"
	case float64:
		return "number"
	case []any:
		return []any{shape(v[0])}
	case map[string]any:
		out := map[string]any{}
		for name, x := range v {
			out[name] = shape(x)
		}
		return out
	}
	return "string"
}

// lacking returns the parts of a shape that are missing in another, which may have more.
func lacking(path string, want, have any) []string {
	switch want := want.(type) {
	case map[string]any:
		have, _ := have.(map[string]any)
		var list []string
		for name, x := range want {
			list = append(list, lacking(path+"."+name, x, have[name])...)
		}
		return list
	case []any:
		if have, _ := have.([]any); have != nil {
			return lacking(path+"[]", want[0], have[0])
		}
	default:
		if want == have {
			return nil
		}
	}
	return []string{path}
}

// Our answers contain the answers of claude-flow 2.7.47, compared by shape.
func TestAnswersHaveTheShapeOfClaudeFlow(t *testing.T) {
	raw, err := os.ReadFile("testdata/claude-flow-2.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []struct {
		Call   json.RawMessage
		Answer map[string]any
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		t.Fatal(err)
	}
	x := serve(t, nil)
	s := x.connect("2025-06-18", nil)
	for _, l := range list {
		got, _ := x.call(s, "memory_usage", string(l.Call))
		for _, path := range lacking("", l.Answer, shape(map[string]any(got))) {
			t.Errorf("%s: the answer lacks %s: %v", l.Call, path, got)
		}
	}
}

func TestTheNamesOfClaudeFlow3(t *testing.T) {
	x := serve(t, func(cfg *Config) { cfg.Memory = Memory3 })
	s := x.connect("", nil)
	x.shows(x.good(s, "memory_store", `{"key":"k","value":{"a":1},"namespace":"n","tags":["x"],"provenance_type":"agent_output"}`),
		`{"key":"k","namespace":"n","stored":true,"backend":"crdt-gossip"}`)
	x.bad("version-conflict", s, "memory_store", `{"key":"k","value":2,"namespace":"n","upsert":false}`)
	x.shows(x.good(s, "memory_retrieve", `{"key":"k","namespace":"n"}`), `{"key":"k","value":{"a":1},"found":true,"tags":["x"],"hasEmbedding":false,"accessCount":1}`)
	x.good(s, "memory_store", `{"key":"l","value":"two"}`)
	x.shows(x.good(s, "memory_list", `{}`), `{"total":2,"limit":50,"offset":0}`)
	page := x.good(s, "memory_list", `{"limit":1,"offset":1}`)
	if e := page["entries"].([]any)[0].(map[string]any); e["key"] != "k" || e["value"] != nil || e["size"] != 7.0 || e["storedAt"] == nil {
		t.Errorf("the second is %v", e)
	}
	x.shows(x.good(s, "memory_list", `{"offset":99}`), `{"entries":[],"total":2}`)
	x.shows(x.good(s, "memory_search", `{"query":"tw"}`), `{"count":1}`)
	x.shows(x.good(s, "memory_delete", `{"key":"k","namespace":"n"}`), `{"deleted":true}`)
	x.bad("bad-request", s, "memory_delete", `{}`)
}

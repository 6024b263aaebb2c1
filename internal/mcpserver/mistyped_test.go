package mcpserver

import (
	"encoding/json"
	"testing"
)

// A misspelt ttl must not keep a value for ever; an argument of another tool must not be refused.
func TestAMisspeltArgumentIsRefused(t *testing.T) {
	for name, refused := range map[string]bool{"ttll": true, "ttl_s": true, "values": true, "swarmId": false, "ttl": false} {
		raw, err := json.Marshal(map[string]any{name: 3})
		if err != nil {
			t.Fatal(err)
		}
		if a := parse(raw, []string{"key", "value", "ttl"}); (a.fault != nil) != refused {
			t.Errorf("%s: %v, want refused %t", name, a.fault, refused)
		}
	}
}

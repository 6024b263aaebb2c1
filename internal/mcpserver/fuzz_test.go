package mcpserver

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

// FuzzArguments checks that agents can read the answer, whatever a client sends.
func FuzzArguments(f *testing.F) {
	for _, tool := range tools {
		f.Add(tool.name, []byte(`{"action":"store","key":"k","value":1,"task":"t","name":"l"}`))
	}
	f.Add("memory_usage", []byte(`{"action":"store","key":"../../etc","value":{"a":[1e999]},"ttl":-1,"namespace":"a/../b"}`))
	f.Add("memory_usage", []byte(`"{\"action\":\"list\"}"`))
	f.Add("memory_usage", []byte(`{"action":["list"],"limit":{},"cursor":5}`))
	f.Add("memory_search", []byte(`{"pattern":"*\u0000*"}`))
	f.Add("lock_acquire", []byte(`{"name":"\ud800","hold_s":1e308,"wait_s":-1}`))
	f.Add("memory_watch", []byte(`{"timeout_s":"0","namespace":"{a,b}/**","prefix":"\\"}`))
	a, err := agent.Open(f.Context(), agent.Config{Name: "n1", Cluster: "test", HeartbeatInterval: agent.Manual, Locks: agent.LockConfig{FirstBoot: true}})
	if err != nil {
		f.Fatal(err)
	}
	s := New(Config{Agent: a, Leases: api.NewLeases(), Logger: slog.New(slog.DiscardHandler)})
	f.Cleanup(func() { _ = s.Close(context.Background()); _ = a.Close(context.Background()) })
	f.Fuzz(func(t *testing.T, name string, raw []byte) {
		i := slices.IndexFunc(tools, func(t tool) bool { return t.name == name })
		if i < 0 {
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond) // waits are no matter here
		defer cancel()
		c := &call{args: parse(raw, tools[i].known()), s: s, ctx: ctx, from: &caller{}, writer: author{Client: "fuzz"}}
		var out fields
		err := c.fault
		if err == nil {
			out, err = tools[i].run(c)
		}
		res := c.result(out, err)
		text := res.Content[0].(*mcp.TextContent).Text
		if len(text) > maxAnswer || !json.Valid([]byte(text)) {
			t.Errorf("%s %.200q answers %d bytes: %.200q", name, raw, len(text), text)
		}
		if strings.Contains(text, `"code":"internal"`) {
			t.Errorf("%s %.200q: %s", name, raw, text)
		}
	})
}

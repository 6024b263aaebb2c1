package mcpserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

// A call that panics fails, and the panic is logged and counted; all other calls go on.
func TestAPanicIsAnsweredLoggedAndCounted(t *testing.T) {
	var log bytes.Buffer // the handler of slog serialises writes
	var panics, failed atomic.Int32
	each(t, func(cfg *Config) {
		log.Reset()
		panics.Store(0)
		failed.Store(0)
		cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError}))
		cfg.Panicked = func() { panics.Add(1) }
		cfg.Called = func(tool string, bad bool) {
			if tool == "think" && bad {
				failed.Add(1)
			}
		}
	}, func(t *testing.T, x *fixture, s *mcp.ClientSession) {
		const uri = "sentinel://ideas"
		x.server.mcp.AddTool(&mcp.Tool{Name: "think", InputSchema: json.RawMessage(`{"type":"object"}`)},
			x.server.handler(&tool{name: "think", run: func(*call) (fields, error) { panic("out of ideas") }}))
		x.server.mcp.AddResource(&mcp.Resource{URI: uri, Name: "ideas"}, x.server.reader(func(*call, string) (any, error) { panic("none left") }))

		if out := x.bad("internal", s, "think", `{}`); !strings.Contains(out["error"].(string), "out of ideas") {
			t.Errorf("the answer is %v", out)
		}
		_, err := s.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: uri})
		if fault, ok := errors.AsType[*jsonrpc.Error](err); !ok || fault.Code != jsonrpc.CodeInternalError || !strings.Contains(fault.Message, "none left") {
			t.Errorf("the resource answers %v", err)
		}
		renew := (&call{s: x.server, ctx: t.Context()}).later("no_such_operation", api.Request{}, nil)
		if err := renew(context.Background()); err == nil {
			t.Error("what runs after its call does not fail")
		}
		x.good(s, "cluster_status", `{}`)

		for _, want := range []string{"level=ERROR", "out of ideas", "none left", "call=think", "panic_test.go"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log does not hold %q:\n%s", want, log.String())
			}
		}
		if panics.Load() != 3 || failed.Load() != 1 {
			t.Errorf("counted %d panics and %d failures", panics.Load(), failed.Load())
		}
	})
}

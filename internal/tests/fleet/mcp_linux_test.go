package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"syscall"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sentinel-peer/sentinel-peer/internal/cli/local"
)

// agentOn starts an agent: a client of the SDK, with a bridge to p in a process of its own
// as its server. It uses this version of the protocol, or the newest if the version is
// empty.
func (v *voting) agentOn(p *local.Process, name, version string, opts *mcp.ClientOptions) *mcp.ClientSession {
	v.Helper()
	cmd := exec.Command(v.Self, "mcp", "--http", p.Client.Addr)
	cmd.Stderr = v.Output()
	client := mcp.NewClient(&mcp.Implementation{Name: name, Version: "1"}, opts)
	s, err := client.Connect(v.ctx, &mcp.CommandTransport{Command: cmd}, &mcp.ClientSessionOptions{ProtocolVersion: version})
	v.ok(err)
	v.Cleanup(func() { _ = s.Close() })
	return s
}

// tool calls a tool and returns its answer.
func (v *voting) tool(s *mcp.ClientSession, name string, arguments map[string]any) map[string]any {
	v.Helper()
	res, err := s.CallTool(v.ctx, &mcp.CallToolParams{Name: name, Arguments: arguments})
	v.ok(err)
	var out map[string]any
	v.ok(json.Unmarshal([]byte(res.Content[0].(*mcp.TextContent).Text), &out))
	return out
}

type argument = map[string]any

// TestAgentsShareMemory has two agents on two peers, in five processes with the third
// voter. They read each other's writes, and work together.
func TestAgentsShareMemory(t *testing.T) {
	v := newVoting(t)
	told := make(chan string, 16)
	one := v.agentOn(v.Peers[0], "one", "", nil)
	two := v.agentOn(v.Peers[1], "two", "2025-11-25", &mcp.ClientOptions{
		ResourceUpdatedHandler: func(_ context.Context, r *mcp.ResourceUpdatedNotificationRequest) { told <- r.Params.URI },
	})

	// Agent two is notified of what agent one stores, reads it, and sees its author.
	const uri = "sentinel://keys/memory/plan/next"
	v.ok(two.Subscribe(v.ctx, &mcp.SubscribeParams{URI: uri}))
	since := v.tool(two, "memory_watch", argument{"namespace": "plan", "timeout_s": 0})["next"]
	if out := v.tool(one, "memory_usage", argument{"action": "store", "namespace": "plan", "key": "next", "value": `{"step":1}`}); out["stored"] != true {
		t.Fatal(out)
	}
	var events []any
	for len(events) == 0 {
		out := v.tool(two, "memory_watch", argument{"namespace": "plan", "since": since})
		since, events = out["next"], out["events"].([]any)
	}
	if e := events[0].(argument); e["key"] != "next" || e["value"].(argument)["step"] != 1.0 {
		t.Errorf("two hears %v", events)
	}
	select {
	case got := <-told:
		if got != uri {
			t.Errorf("two is told of %s", got)
		}
	case <-v.ctx.Done():
		t.Error("two is not told of what it subscribed to")
	}
	list := v.tool(two, "memory_usage", argument{"action": "list", "namespace": "plan"})
	entry := list["entries"].([]any)[0].(argument)
	if by := entry["metadata"].(argument)["claimed_client"]; by != "one 1" {
		t.Errorf("two takes %v for the author", by)
	}

	// Agent one finds what agent two writes back.
	v.tool(two, "memory_usage", argument{"action": "store", "namespace": "plan", "key": "answer", "value": "From Two"})
	for found := 0.0; found == 0; {
		out := v.tool(one, "memory_search", argument{"pattern": "from two"})
		found = out["count"].(float64)
		v.ok(v.ctx.Err())
	}

	// One agent at a time has a lock, or a task.
	lease := v.tool(one, "lock_acquire", argument{"name": "deploy"})
	if lease["acquired"] != true {
		t.Fatal(lease)
	}
	if out := v.tool(two, "lock_acquire", argument{"name": "deploy"}); out["code"] != "held" {
		t.Errorf("two gets %v", out)
	}
	v.tool(one, "lock_release", argument{"name": "deploy", "lease": lease["lease"]})
	if out := v.tool(two, "lock_acquire", argument{"name": "deploy", "wait_s": 20}); out["acquired"] != true {
		t.Errorf("two gets %v", out)
	}
	v.tool(one, "task_add", argument{"value": "review"})
	task := v.tool(two, "task_claim", argument{"wait_s": 20})
	if task["value"] != "review" {
		t.Fatal(task)
	}
	if out := v.tool(one, "task_claim", argument{}); out["claimed"] != false {
		t.Errorf("one gets %v", out)
	}
	if out := v.tool(two, "task_complete", argument{"claim": task["claim"], "result": "done"}); out["completed"] != true {
		t.Error(out)
	}

	// A daemon stops in order although agents are subscribed.
	v.ok(v.Peers[1].Cmd.Process.Signal(syscall.SIGTERM))
	v.ok(v.Peers[1].Cmd.Wait())
	if out := v.tool(two, "memory_usage", argument{"action": "list"}); out["code"] != "unreachable" {
		t.Errorf("without its daemon two gets %v", out)
	}
	v.ok(v.Launch(v.Peers[1]))
	v.ok(local.Until(v.ctx, "two goes on", func() error {
		out := v.tool(two, "memory_usage", argument{"action": "retrieve", "namespace": "plan", "key": "next"})
		if out["found"] != true {
			return fmt.Errorf("it gets %v", out)
		}
		return nil
	}))
}

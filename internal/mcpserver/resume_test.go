package mcpserver

import (
	"context"
	"strings"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

// again ends the server and starts another for the same peer, whose leases go on.
func (x *fixture) again() {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(x.t.Context(), patience)
	defer cancel()
	if err := x.server.Close(ctx); err != nil {
		x.t.Fatal(err)
	}
	x.server = New(x.server.cfg)
}

// An agent goes on with its lock and its task after a restart of the server, and can lose them as
// before.
func TestWhatIsHeldGoesOnAfterARestart(t *testing.T) {
	x := serve(t, nil)
	session, other := x.greet(), x.greet()
	lock := x.raw(session, "lock_acquire", `{"name":"l"}`)
	x.raw(session, "task_add", `{"value":1}`)
	x.raw(session, "task_add", `{"value":2}`)
	first, second := x.raw(session, "task_claim", `{}`), x.raw(session, "task_claim", `{}`)
	x.again()
	renewal := `{"name":"l","lease":"` + lock["lease"].(string) + `","hold_s":3600}`
	x.shows(x.raw(session, "lock_acquire", renewal), `{"acquired":true,"hold_s":3600}`)
	x.shows(x.raw(session, "task_progress", `{"task":"`+first["task"].(string)+`","claim":"`+first["claim"].(string)+`","hold_s":3600}`), `{"success":true,"hold_s":3600}`)
	x.shows(x.raw(session, "task_complete", `{"claim":"`+second["claim"].(string)+`"}`), `{"completed":true}`)
	if n := x.held(); n != 2 {
		t.Errorf("%d leases are held", n)
	}
	for _, claim := range []string{"made/up", "tasks/t/1/lease", strings.Replace(second["claim"].(string), "/", "/x", 1)} {
		x.shows(x.raw(session, "task_progress", `{"task":"t","claim":"`+claim+`"}`), `{"code":"claim-lost"}`)
		x.shows(x.raw(session, "task_complete", `{"claim":"`+claim+`"}`), `{"code":"claim-lost"}`)
	}
	for _, s := range x.server.sessions.all() {
		if s.id == session {
			s.end()
		}
	}
	x.shows(x.raw(other, "lock_acquire", `{"name":"l","wait_s":25}`), `{"acquired":true}`)
	x.shows(x.raw(other, "task_claim", `{"wait_s":25}`), `{"claimed":true,"attempt":2}`)
}

// The first daemon does not release a lease that the agent has renewed at another.
func TestWhatMovedIsLeftAlone(t *testing.T) {
	x := serve(t, nil)
	there, err := agent.Open(t.Context(), agent.Config{Name: "n2", Cluster: "test", Seeds: []string{x.agent.Addr()},
		HeartbeatInterval: agent.Manual, BatchInterval: agent.AtOnce})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = there.Close(context.Background()) }()
	session := x.greet()
	token := uint64(x.raw(session, "lock_acquire", `{"name":"l"}`)["token"].(float64))
	(&call{s: &Server{cfg: Config{Agent: there, Leases: api.NewLeases()}}, ctx: t.Context()}).tell("l", token, maxHold)
	x.soon("the other's note does not come", func() bool {
		e, ok := x.agent.Entry(noteKey("l", token))
		return ok && x.agent.WriterName(e.Dot().Actor) == "n2"
	})
	for _, s := range x.server.sessions.all() {
		s.end()
	}
	x.soon("it is held on here", func() bool { return x.held() == 0 })
	if info, err := x.agent.Locks().Inspect(t.Context(), "l"); err != nil || len(info.Holders) != 1 {
		t.Errorf("%+v, %v; want its lease to go on", info, err)
	}
}

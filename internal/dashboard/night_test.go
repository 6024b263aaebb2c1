package dashboard

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/agent/fleet"
	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

// The pages show tasks that nobody works on, and why.
func TestWorkOfThoseThatAreGoneIsFlagged(t *testing.T) {
	showing(t, 2, func(x *fixture) {
		ctx, other := x.Context(), x.peers[1]
		q := other.WorkQueue("mail")
		for _, id := range []string{"dead-1", "held-1", "waits-1"} {
			_, err := q.Enqueue(ctx, id, workqueue.WithID(id), workqueue.WithMaxAttempts(1))
			x.must(err)
			time.Sleep(time.Second)
		}
		c, err := q.Claim(ctx)
		x.must(err)
		x.must(c.Fail(ctx, errors.New("no such mailbox")))
		_, err = q.Claim(ctx, workqueue.WithTTL(15*time.Second))
		x.must(err, other.Workers().SetStatus(ctx, "n2", fleet.WorkerStatus{Status: "busy", Task: "t-gone", Running: 1}),
			other.Tasks().SetState(ctx, "t-gone", fleet.TaskState{Status: "running", Worker: "n2"}),
			other.Tasks().SetState(ctx, "t-bad", fleet.TaskState{Status: "failed", Error: "out of memory"}))
		time.Sleep(time.Second)
		x.has("/ui/queues", "claimed pending delayed dead", "2.")
		x.has("/ui/queues?name=mail", "Dead in mail", "dead-1", "no such mailbox", "Claimed in mail", "held-1", "by n2", "Next in mail", "waits-1")
		x.has("/ui/workers", "busy on t-gone")
		x.lacks("/ui/tasks", "worker gone")
		x.net.Split([]string{peerAddr(0)}, []string{peerAddr(1)})
		time.Sleep(time.Minute)
		x.has("/ui/queues?name=mail", "out of reach")
		x.has("/ui/workers", "unreachable", "work in hand: t-gone", "last: busy on t-gone")
		x.has("/ui/tasks", "t-gone", "worker gone")
		x.has("/", "n2 out of reach", "1 worker (n2) gone with work in hand", "1 task (t-bad) failed", "1 item dead in mail", "Next:")
		x.net.Heal()
		time.Sleep(time.Minute)
	})
}

func TestTasksAreFilteredAndOrdered(t *testing.T) {
	showing(t, 1, func(x *fixture) {
		for i, status := range []string{"running", "failed", "running", "completed"} {
			x.must(x.peers[0].Tasks().SetState(x.Context(), fmt.Sprintf("t%d", 3-i), fleet.TaskState{Status: status, Labels: []string{"on-" + status}}))
			time.Sleep(time.Minute)
		}
		f := func(query string, want ...string) {
			t.Helper()
			body := x.get(200, "/ui/tasks?"+query)
			at := -1
			for _, id := range want {
				next := strings.Index(body, ">"+id+"</a>")
				if next <= at {
					t.Errorf("%s: %s is not where it should be in %s", query, id, text(body))
				}
				at = next
			}
			if n := strings.Count(body, `<th scope="row">`); n != len(want) {
				t.Errorf("%s: %d rows, want %v", query, n, want)
			}
		}
		f("", "t0", "t1", "t2", "t3")
		f("order=oldest", "t3", "t2", "t1", "t0")
		f("order=newest", "t0", "t1", "t2", "t3")
		f("which=running&order=oldest", "t3", "t1")
		f("q=ON-FAIL", "t2")
		f("which=abandoned")
		x.has("/ui/tasks?order=oldest", "4 tasks fit", "4 min ago")
		for _, bad := range []string{"which=x", "order=x", "q=" + strings.Repeat("x", 2000)} {
			x.get(400, "/ui/tasks?"+bad)
		}
	})
}

// Every peer shows the clients of all peers that hold locks or wait for them. If a peer does not
// answer, the page says so, and waits for it at most half a second.
func TestLocksNameTheClientsOfAllPeers(t *testing.T) {
	tuned(t, 3, agent.LockConfig{Voters: []string{"n1", "n2", "n3"}, FirstBoot: true}, func(x *fixture) {
		leases := api.NewLeases()
		ask := func(ctx context.Context, peer int, client, body string) error {
			_, err := api.Find("lock_acquire").Do(ctx, x.peers[peer], api.Request{Key: "deploy", Body: []byte(body), Client: client, Leases: leases})
			return err
		}
		waiting, cancel := context.WithCancel(x.Context())
		done := make(chan error)
		x.must(ask(x.Context(), 1, "ci at 10.0.0.9:1", `{"ttl":"15s","client":"release 4.2"}`))
		go func() { done <- ask(waiting, 2, "ops by MCP", `{"wait":"10m"}`) }()
		time.Sleep(time.Second)
		go func() { done <- ask(waiting, 2, "late", `{"wait":"10m"}`) }()
		time.Sleep(time.Second)
		held, waits := "n2 for ci at 10.0.0.9:1, says it is release 4.2", "n3 for ops by MCP, 2.0 s; n3 for late, 1.0 s"
		x.has("/ui/locks", "deploy", held, waits)
		x.has("/ui/locks?name=deploy", held, "2 wait", "n3 for ops by MCP, for 2.0 s", "n3 for late, for 1.0 s")
		x.lacks("/ui/locks", "not known", "no majority")

		grant := x.grant
		x.grant = &api.Grant{Name: "g", Rights: []api.Right{{Verb: api.Lock, Key: "mine"}}}
		x.lacks("/ui/locks", "deploy", "ops by")
		x.grant = grant

		x.net.Split([]string{peerAddr(1)}, []string{peerAddr(0), peerAddr(2)})
		for _, path := range []string{"/ui/locks", "/ui/locks?name=deploy"} {
			began := time.Now()
			x.has(path, "n2", "n3 for ops by MCP", "n2: its clients are not known")
			x.lacks(path, "ci at")
			if took := time.Since(began); took > 1100*time.Millisecond {
				t.Errorf("%s took %v", path, took)
			}
		}
		cancel()
		<-done
		<-done
		time.Sleep(time.Minute)
		x.lacks("/ui/locks", "deploy")
	})
}

// Without a majority, the page of a lock shows what this peer knows, without a wait for voters that
// do not answer.
func TestALocksPageWaitsForNoVoters(t *testing.T) {
	tuned(t, 3, agent.LockConfig{Voters: []string{"n1", "n2", "n3"}, FirstBoot: true}, func(x *fixture) {
		_, err := api.Find("lock_acquire").Do(x.Context(), x.agent, api.Request{Key: "deploy", Body: []byte(`{"ttl":"15s"}`), Leases: x.cfg.Leases})
		x.must(err)
		x.has("/ui/locks?name=deploy", "A majority of voters agrees")
		x.net.Split([]string{peerAddr(0)}, []string{peerAddr(1), peerAddr(2)})
		for i, within := range []time.Duration{500 * time.Millisecond, 500 * time.Millisecond, 0} {
			time.Sleep(time.Duration(2-i) * time.Second) // how long an answer of the voters is reused
			began := time.Now()
			x.has("/ui/locks?name=deploy", "n1")
			if took := time.Since(began); took > within {
				t.Errorf("it took %v, want %v", took, within)
			}
		}
	})
}

// The text of a link stands beside its line, not on it.
func TestTheTextOfALinkIsBesideIt(t *testing.T) {
	for n := 1; n <= maxNodes; n++ {
		members := []agent.Member{{Name: "n0", Self: true, State: "alive"}}
		for i := range n {
			members = append(members, agent.Member{Name: fmt.Sprint("m", i), State: "alive", Packets: agent.Packets{To: "blocked", From: "pass"}})
		}
		for _, node := range draw(members).Nodes {
			dx, dy := node.X-pictureX, node.Y-pictureY
			off := math.Abs(dx*(node.MY-pictureY)-dy*(node.MX-pictureX)) / math.Hypot(dx, dy)
			if off < 10 || off > 12 || node.Text != "UDP blocked" || node.State != "wait" {
				t.Errorf("%d peers: %+v is %.1f off its line", n, node, off)
			}
		}
	}
}

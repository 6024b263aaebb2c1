package metrics

import (
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMetricsAreNamedAndFilled(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	a, err := agent.Open(ctx, agent.Config{Name: "n1", Cluster: "test", BatchInterval: agent.AtOnce})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close(ctx)
	for range 3 {
		if err := a.Put(ctx, "k", 1); err != nil {
			t.Fatal(err)
		}
	}
	a.Entry("k")
	sub, err := a.Watch(ctx, "**")
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	if _, err := a.Locks().Lock(ctx, "held"); err != nil {
		t.Fatal(err)
	}
	lapsed, err := a.Locks().Lock(ctx, "lapsed", lockservice.WithTTL(lockservice.LeastTTL), lockservice.WithBearer())
	if err != nil {
		t.Fatal(err)
	}
	<-lapsed.Done()
	work := a.WorkQueue("mail")
	if _, err := work.Enqueue(ctx, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := work.Enqueue(ctx, "y"); err != nil {
		t.Fatal(err)
	}
	if c, err := work.Claim(ctx); err != nil || c.Complete(ctx, nil) != nil {
		t.Fatal(err)
	}

	m := New(a, "v1")
	m.Panics.Inc()
	m.ToolCalled("memory_usage", false)
	m.ToolCalled("memory_usage", true)
	problems, err := testutil.GatherAndLint(m.registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	w := httptest.NewRecorder()
	m.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	text, err := io.ReadAll(w.Body)
	if err != nil || w.Code != 200 {
		t.Fatal(w.Code, err)
	}
	for _, want := range []string{
		"sentinel_reads_total 1", `sentinel_queue_items{queue="mail",state="pending"} 1`, `sentinel_queue_items{queue="mail",state="done"} 1`,
		`sentinel_queue_claims_total{queue="mail"} 1`, `sentinel_queue_completed_total{queue="mail"} 1`, `sentinel_queue_claims_lost_total{queue="mail"} 0`, `sentinel_queue_claims_lapsed_total{queue="mail"} 0`,
		`sentinel_mcp_tool_calls_total{result="error",tool="memory_usage"} 1`, `sentinel_build_info{version="v1",wire="1"} 1`, "sentinel_ready 1", "sentinel_peer_lag_writes 0", `sentinel_peer_packets{passage="blocked"} 0`,
		"sentinel_subscriptions 1", "sentinel_http_panics_total 1",
		"sentinel_locks_held 1", "sentinel_locks_waiting 0", "sentinel_locks_lost_total 0", "sentinel_locks_lapsed_total 1", "sentinel_locks_refused_total 0", "sentinel_locks_quarantine_seconds 0",
		`sentinel_members{state="alive"} 1`, "go_goroutines ", "process_resident_memory_bytes ", "go_build_info{",
	} {
		if !strings.Contains(string(text), "\n"+want) {
			t.Errorf("no line starts with %q", want)
		}
	}
	// Of each family of ours: one help text, and none without.
	names := regexp.MustCompile(`(?m)^(sentinel_\w+)`).FindAllStringSubmatch(string(text), -1)
	if len(names) < len(metrics)+len(locks) {
		t.Errorf("%d samples of %d metrics", len(names), len(metrics)+len(locks))
	}
	for _, m := range names {
		if strings.Count(string(text), "# HELP "+m[1]+" ") != 1 {
			t.Errorf("%s has no help, or two", m[1])
		}
	}
}

// However many queues there are, labels are few, and who has one keeps it.
func TestQueuesWithALabelAreBounded(t *testing.T) {
	labels := queueLabels{given: map[string]bool{}}
	one := workqueue.Stats{Counters: workqueue.Counters{Enqueued: 1}}
	queues := map[string]workqueue.Stats{"z-first": one}
	labels.sum(queues)
	for i := range 3 * maxQueues {
		queues[fmt.Sprintf("a%d", i)] = one
	}
	queues[otherQueues] = one
	sums := labels.sum(queues)
	if len(sums) != maxQueues+1 || sums["z-first"].Enqueued != 1 || sums[otherQueues].Enqueued < uint64(2*maxQueues+1) {
		t.Errorf("%d labels; %+v", len(sums), sums[otherQueues])
	}
	total := uint64(0)
	for _, s := range sums {
		total += s.Enqueued
	}
	if total != uint64(len(queues)) {
		t.Errorf("%d of %d items are shown", total, len(queues))
	}
}

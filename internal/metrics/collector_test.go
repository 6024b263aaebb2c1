package metrics

import (
	"context"
	"io"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/sentinel-peer/sentinel-peer/agent"
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
	lost, err := a.Locks().Lock(ctx, "lost", lockservice.WithTTL(lockservice.LeastTTL), lockservice.WithManualRenewal())
	if err != nil {
		t.Fatal(err)
	}
	<-lost.Done()

	m := New(a)
	m.Panics.Inc()
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
		"sentinel_keys 1", "sentinel_writes_total 3", "sentinel_reads_total 1", "sentinel_subscriptions 1", "sentinel_http_panics_total 1",
		"sentinel_locks_held 1", "sentinel_locks_waiting 0", "sentinel_locks_lost_total 1", "sentinel_locks_grants_total 2", "sentinel_locks_refused_total 0", "sentinel_locks_quarantine_seconds 0",
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

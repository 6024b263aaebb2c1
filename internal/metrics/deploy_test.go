package metrics

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/internal/httpapi"
)

// What alerts and the dashboard ask for exists, by name and label.
func TestWhatIsDeployedAsksForMetricsThatExist(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	a, err := agent.Open(ctx, agent.Config{Name: "n1", Cluster: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close(ctx)
	served := map[string]bool{}
	name := regexp.MustCompile(`sentinel_\w+`)
	m := New(a, "v1")
	m.HTTP(func() httpapi.Stats { return httpapi.Stats{} })
	m.LogLost(func() uint64 { return 0 })
	for _, row := range rows(t, m) {
		served[name.FindString(row)] = true
	}
	for _, file := range []string{"prometheus/alerts.yml", "prometheus/alerts_test.yml", "grafana/sentinel-peer.json"} {
		text, err := os.ReadFile("../../deploy/" + file)
		if err != nil {
			t.Fatal(err)
		}
		used := name.FindAllString(string(text), -1)
		for _, n := range used {
			if !served[n] {
				t.Errorf("%s: there is no %s", file, n)
			}
		}
		if len(used) < 10 {
			t.Errorf("%s: only %d metrics", file, len(used))
		}
	}
	var dashboard struct {
		Panels []struct {
			ID      int
			Title   string
			GridPos struct{ X, W int }
		}
	}
	text, err := os.ReadFile("../../deploy/grafana/sentinel-peer.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	ids := map[int]bool{}
	for _, p := range dashboard.Panels {
		if ids[p.ID] || p.Title == "" || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %+v", p)
		}
		ids[p.ID] = true
	}
}

// Each alert has its line in docs/operations.md.
func TestOperationsSayWhatToDoAboutEachAlert(t *testing.T) {
	alerts, err := os.ReadFile("../../deploy/prometheus/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`(?m)alert: (\w+)$`).FindAllSubmatch(alerts, -1)
	for _, name := range names {
		if !bytes.Contains(text, slices.Concat([]byte("`"), name[1], []byte("`"))) {
			t.Errorf("docs/operations.md does not speak of %s", name[1])
		}
	}
	if len(names) < 10 {
		t.Errorf("only %d alerts", len(names))
	}
}

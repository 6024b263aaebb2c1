package metrics

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/internal/httpapi"
)

var update = flag.Bool("update", false, "rewrite the table of docs/metrics.md")

// described is what a metric says of itself.
var described = regexp.MustCompile(`^Desc\{fqName: "(\w+)", help: "([^"]*)", unit: "[^"]*", constLabels: \{([^}]*)\}, variableLabels: \{([^}]*)\}\}$`)

// rows are the metrics of ours as the table shows them.
func rows(t *testing.T, m *Metrics) []string {
	descs := make(chan *prometheus.Desc, 1000)
	for _, part := range m.parts {
		part.Describe(descs)
	}
	close(descs)
	constant := regexp.MustCompile(`(\w+)="[^"]*"`)
	var list []string
	for d := range descs {
		parts := described.FindStringSubmatch(d.String())
		if parts == nil {
			t.Fatalf("%v is not as expected", d)
		}
		kind := "gauge"
		if strings.HasSuffix(parts[1], "_total") {
			kind = "counter"
		}
		labels := strings.Join(strings.FieldsFunc(constant.ReplaceAllString(parts[3], "$1")+","+parts[4], func(r rune) bool { return r == ',' }), ", ")
		list = append(list, fmt.Sprintf("| `%s` | %s | %s | %s |\n", parts[1], kind, labels, parts[2]))
	}
	slices.SortFunc(list, func(a, b string) int { return cmp.Compare(a, b) })
	return list
}

// The table of docs/metrics.md has every metric of ours, and no other.
func TestTheTableIsWhatIsServed(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	a, err := agent.Open(ctx, agent.Config{Name: "n1", Cluster: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close(ctx)
	const file, begin, end = "../../docs/metrics.md", "|---|---|---|---|\n", "\n## "
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := bytes.Cut(text, []byte(begin))
	had, tail, ok2 := bytes.Cut(rest, []byte(end))
	if !ok || !ok2 {
		t.Fatalf("%s has no table that ends before a heading", file)
	}
	m := New(a, "v1")
	m.HTTP(func() httpapi.Stats { return httpapi.Stats{} })
	m.LogLost(func() uint64 { return 0 })
	want := strings.Join(rows(t, m), "")
	if *update {
		if err := os.WriteFile(file, slices.Concat(head, []byte(begin+want), []byte(end), tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(had) != want {
		t.Errorf("%s is not what is served; make golden rewrites it. It has\n%s\nand should have\n%s", file, had, want)
	}
}

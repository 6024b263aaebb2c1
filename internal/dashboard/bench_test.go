package dashboard

import (
	"context"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/agent/fleet"
)

// BenchmarkPages renders the pages of a peer with 100,000 keys, as a stream does each second, and
// walks the keys, which all pages share.
func BenchmarkPages(b *testing.B) {
	a, err := agent.Open(b.Context(), agent.Config{Name: "n1", Cluster: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	defer a.Close(context.WithoutCancel(b.Context()))
	for i := range 100_000 {
		key := fmt.Sprintf("ns/%02d/key-%06d", i%50, i)
		if i%10 == 0 {
			key = fleet.TaskStateKey(fmt.Sprint(i))
		}
		if err := a.Put(b.Context(), key, map[string]any{"n": i, "status": "some value of a usual size"}); err != nil {
			b.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	d := New(ctx, Config{Agent: a})
	for _, c := range []struct{ name, path string }{
		{"overview", "/"}, {"folders", "/ui/keys"}, {"folder", "/ui/keys?prefix=ns/07/"}, {"key", "/ui/key?key=ns/01/key-000001"},
		{"found", "/ui/keys?q=key-0"}, {"not-found", "/ui/keys?q=nothing"}, {"tasks", "/ui/tasks"}, {"events", "/ui/events"},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := httptest.NewRequest("GET", c.path, nil)
			d.view(r, find(r.URL.Path)).parts() // the walk
			for b.Loop() {
				d.view(r, find(r.URL.Path)).parts()
			}
		})
	}
	b.Run("walk", func(b *testing.B) {
		for b.Loop() {
			d.index.keys = nil
			if _, _, err := d.index.all(a, time.Now()); err != nil {
				b.Fatal(err)
			}
		}
	})
}

package httpapi

import (
	"fmt"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// Each fault of a write has its own code, since status 500 means a fault of the daemon.
func TestEveryFaultOfAWriteHasACode(t *testing.T) {
	for want, err := range map[string]error{
		"504 rotated":    fmt.Errorf("queue %q: %w", "q", agent.ErrRotated),
		"507 store-full": fmt.Errorf("batch: %w", &crdt.FullError{Needs: 100, Used: 1000, Limit: 1000}),
		"503 closed":     agent.ErrClosed,
		"503 clock-skew": agent.ErrClockSkew,
	} {
		if p := describe(err); fmt.Sprint(p.Status, " ", p.Code) != want || p.Detail == "" {
			t.Errorf("%v: %d %s, want %s", err, p.Status, p.Code, want)
		}
	}
}

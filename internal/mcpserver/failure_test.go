package mcpserver

import (
	"context"
	"fmt"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// The code tells whether a write was made.
func TestEveryFaultOfAWriteHasACode(t *testing.T) {
	for code, err := range map[string]error{
		"rotated":        agent.ErrRotated,
		"not-replicated": &agent.ReplicationError{Err: context.DeadlineExceeded},
		"store-full":     &crdt.FullError{},
		"claim-lost":     workqueue.ErrClaimLost,
		"closed":         agent.ErrClosed,
		"no-majority":    lockservice.ErrUnavailable,
		"timeout":        context.DeadlineExceeded,
	} {
		if f := explain(fmt.Errorf("queue %q: %w", "q", err)); f.Code != code || f.Hint == "" {
			t.Errorf("%v: code %q with the hint %q, want %q", err, f.Code, f.Hint, code)
		}
	}
}

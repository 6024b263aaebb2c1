package status

import (
	"strings"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

// A peer that was never heard is shown as that, not as silent for centuries.
func TestALookAtPeersThatWereNotHeard(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	l := &look{Members: api.MembersOf([]agent.Member{
		{Name: "n1", State: "alive", Self: true, Since: now.Add(-time.Hour)},
		{Name: "n2", State: "alive", Since: now.Add(-time.Minute), Packets: agent.Packets{To: "unknown", From: "unknown"}},
		{Name: "n3", State: "alive", Since: now.Add(-time.Second), Packets: agent.Packets{To: "pass", From: "unknown"}},
		{Name: "n4", State: "alive", Since: now.Add(-time.Hour), Contact: now.Add(-time.Minute), Packets: agent.Packets{To: "blocked", From: "pass"}},
		{Name: "n5", State: "alive", Since: now.Add(-time.Hour), Contact: now, Packets: agent.Packets{To: "blocked", From: "blocked"}},
		{Name: "n6", State: "left", Since: now.Add(-time.Hour)},
	})}
	var screen strings.Builder
	_ = l.Write(&screen, now)
	for _, row := range []string{
		"n1 (this)  alive  0    -         -",
		"n2         alive  0    never     unknown",
		"n4         alive  0    1m0s ago  blocked to it",
		"n5         alive  0    0s ago    blocked",
		"n6         left   0    -         -",
	} {
		if !strings.Contains(screen.String(), row) {
			t.Errorf("there is no row %q in\n%s", row, screen.String())
		}
	}
}

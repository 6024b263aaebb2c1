package agent

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/gossip/transport/memnet"
)

// When peers stop at the same time, each has left within a second, and none logs a warning that the others
// may not know it.
func TestPeersThatStopTogetherWaitForNobody(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		var logs [4]bytes.Buffer
		var list []*Agent
		for i := range logs {
			list = append(list, virtual(t, n, i, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&logs[i], nil)) }))
		}
		time.Sleep(10 * time.Second)
		if err := list[0].Put(t.Context(), "k", 1); err != nil {
			t.Fatal(err)
		}
		began, ended := time.Now(), make(chan error)
		for i, a := range list {
			go func() {
				time.Sleep(time.Duration(i) * 30 * time.Millisecond)
				ended <- a.Close(t.Context())
			}()
		}
		for range list {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v", took)
		}
		for i := range logs {
			if strings.Contains(logs[i].String(), "WARN") {
				t.Errorf("n%d: %s", i, &logs[i])
			}
		}
	})
}

package sim

import (
	"strings"
	"testing"
	"time"
)

// Each oracle of heartbeats reports the fault that it is there for.
func TestTheOraclesOfHeartbeatsComplain(t *testing.T) {
	f := func(oracle string, step string, spoil func(c *Cluster)) {
		t.Helper()
		c, err := New(Config{Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		c.Run(time.Second)
		if err := c.Do(step); err != nil {
			t.Fatal(err)
		}
		spoil(c)
		c.Run(time.Minute)
		c.Settle()
		for _, v := range c.Violations() {
			if strings.HasPrefix(v, oracle) {
				return
			}
		}
		t.Errorf("%s did not complain: %v", oracle, c.Violations())
	}
	f("H1", "1 host w 10s", func(c *Cluster) { c.cfg.Loss = 1 })
	f("H2", "1 beat w 10s", func(c *Cluster) {
		p := c.Peer(1)
		if err := p.r.Host(p.wall(), "w", 10*time.Second); err != nil {
			t.Fatal(err)
		}
	})
	f("H3", "1 host w 10s", func(c *Cluster) {
		c.judge.faulted()
		c.At(c.now, func() { c.Peer(1).r.Release(c.Peer(1).wall(), "w") })
	})
}

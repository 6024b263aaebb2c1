package agent

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/gossip/transport/memnet"
)

// A second peer with the name of a voter that is up does not take its vote: locks are granted as before.
// When the first one is gone, the second one has the name.
func TestAVotersNameIsNotTakenFromIt(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := voting(t, n, 3)
		impostor := virtual(t, n, 7, func(c *Config) {
			c.Name = "n1"
			c.Locks = LockConfig{Voters: []string{"n0", "n1", "n2"}}
		})
		time.Sleep(5 * time.Second)
		list[2].net.Close() // a crash: n0 and n1 are the majority now
		for range 5 {
			for _, p := range list[:2] {
				ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
				lease, err := p.Locks().Lock(ctx, "l")
				cancel()
				if err != nil {
					t.Fatalf("%s: %v", p.Name(), err)
				}
				if err := lease.Unlock(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		if !slices.ContainsFunc(list[0].Members(), func(m Member) bool { return m.Name == "n1" && slices.Contains(m.Problems, "duplicate name") }) {
			t.Errorf("nobody is told of the name that is claimed twice: %+v", list[0].Members())
		}
		id := func() string { return (*list[0].locks.ids.Load())["n1"] }
		if id() != list[1].roster.id {
			t.Error("n1 is another")
		}
		list[1].net.Close()
		time.Sleep(30 * time.Second)
		if id() != impostor.roster.id {
			t.Error("the next life has not inherited the name")
		}
	})
}

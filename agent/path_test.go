package agent

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/gossip/transport/memnet"
)

// When datagrams are blocked and streams are open, a write reaches every peer within two seconds of the
// block. Members stay up, workers stay active, and each peer shows which packets are blocked.
func TestWhatPacketsCannotCarryStreamsDo(t *testing.T) {
	pass, blocked := Packets{"pass", "pass"}, Packets{"blocked", "blocked"}
	for _, c := range []struct {
		name   string
		blocks [][2]int
		start  bool       // datagrams are blocked before the first peer starts
		want   [3]Packets // Packets between peers 0 and 1, 0 and 2, 1 and 2, as the first of each pair sees them
	}{
		{"everywhere from the start", [][2]int{{0, 1}, {1, 0}, {0, 2}, {2, 0}, {1, 2}, {2, 1}}, true, [3]Packets{blocked, blocked, blocked}},
		{"everywhere", [][2]int{{0, 1}, {1, 0}, {0, 2}, {2, 0}, {1, 2}, {2, 1}}, false, [3]Packets{blocked, blocked, blocked}},
		{"one way", [][2]int{{0, 1}}, false, [3]Packets{{"blocked", "pass"}, pass, pass}},
		{"towards one", [][2]int{{0, 2}, {1, 2}}, false, [3]Packets{pass, {"blocked", "pass"}, {"blocked", "pass"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *memnet.Network) {
				block := func() {
					for _, b := range c.blocks {
						n.Block(address(b[0]), address(b[1]))
					}
				}
				if c.start {
					block()
				}
				list := several(t, n, 3, nil)
				block()
				for i, a := range list {
					if err := a.Put(t.Context(), fmt.Sprint("small/", i), i); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(2 * time.Second)
				if keys := agreed(t, list); keys < 3 {
					t.Errorf("%d keys two seconds after the block", keys)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if err := list[0].WaitReplicated(ctx, 2); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Minute)
				for i, a := range list {
					if got := alive(a); got != 3 {
						t.Errorf("to %s %d peers are alive", a.Name(), got)
					}
					if got := a.Stats().Workers["active"]; got != 3 {
						t.Errorf("to %s %d workers are active", a.Name(), got)
					}
					for k, pair := range [][2]int{{0, 1}, {0, 2}, {1, 2}} {
						want := c.want[k]
						if pair[1] == i {
							want = Packets{want.From, want.To}
							pair[1] = pair[0]
						} else if pair[0] != i {
							continue
						}
						for _, m := range a.Members() {
							if m.Name == list[pair[1]].Name() && m.Packets != want {
								t.Errorf("%s says of %s %v, want %v", a.Name(), m.Name, m.Packets, want)
							}
						}
					}
				}
				n.Heal()
				time.Sleep(20 * time.Second)
				for _, a := range list {
					if got := a.Stats().Packets; got["pass"] != 2 {
						t.Errorf("healed, to %s packets are %v", a.Name(), got)
					}
				}
			})
		})
	}
}

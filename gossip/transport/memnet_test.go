package transport

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sentinel-peer/sentinel-peer/gossip/transport/memnet"
)

// virtual opens n peers at 10.0.0.1.. on a network in memory. Peer 0 is the
// seed of all.
func virtual(t *testing.T, n *memnet.Network, count int, change func(*Config)) []*peer {
	t.Helper()
	var all []*peer
	for i := range count {
		all = append(all, virtualPeer(t, n, fmt.Sprintf("p%02d", i), addrAt(i), func(c *Config) {
			c.Seeds = []string{addrAt(0)}
			if change != nil {
				change(c)
			}
		}))
	}
	return all
}

func addrAt(i int) string { return fmt.Sprintf("10.0.%d.%d:7946", i/250, i%250+1) }

func virtualPeer(t *testing.T, n *memnet.Network, id, addr string, change func(*Config)) *peer {
	t.Helper()
	network, err := n.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	return openPeer(t, id, func(c *Config) {
		c.Network = network
		change(c)
	})
}

// bubble runs a test in virtual time and waits for memberlist's last timers.
func bubble(t *testing.T, f func(t *testing.T, n *memnet.Network)) {
	synctest.Test(t, func(t *testing.T) {
		const seed = 7
		t.Logf("memnet seed %d", seed)
		t.Cleanup(func() { time.Sleep(time.Minute) }) // runs last: virtual
		f(t, memnet.New(seed))
	})
}

func expect(t *testing.T, all []*peer, n int, when string) {
	t.Helper()
	for _, p := range all {
		if !alive(n)(p.Members()) {
			t.Errorf("%s: %s does not see %d living members: %v", when, p.cfg.ID, n, p.Members())
		}
	}
}

func TestASplitOfAMinuteHealsByItself(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		all := virtual(t, n, 4, nil)
		time.Sleep(5 * time.Second)
		expect(t, all, 4, "at first")
		n.Split([]string{addrAt(0), addrAt(1)}, []string{addrAt(2), addrAt(3)})
		time.Sleep(60 * time.Second)
		expect(t, all, 2, "while split")
		n.Heal()
		time.Sleep(20 * time.Second)
		expect(t, all, 4, "after healing")
		if heals := all[0].Stats().Heals; heals == 0 {
			t.Error("no heal was counted")
		}
	})
}

package transport

import (
	"fmt"
	"log/slog"
	"strings"
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

// The seed is gone when the network splits, so only memory can heal it.
func TestASplitOfAMinuteHealsByItself(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		const seed = 9
		seeds := func(c *Config) { c.Seeds = []string{addrAt(seed)} }
		first := virtualPeer(t, n, "seed", addrAt(seed), seeds)
		all := virtual(t, n, 4, seeds)
		time.Sleep(5 * time.Second)
		if err := first.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		first.Close()
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

func TestAThirdOfThePacketsLostNobodyIsLost(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		n.SetDelay(time.Millisecond, 20*time.Millisecond)
		all := virtual(t, n, 5, withKey)
		time.Sleep(5 * time.Second)
		n.SetLoss(0.3)
		n.SetDuplicate(0.1)
		n.SetReorder(0.2)
		for i := range 60 {
			time.Sleep(time.Second)
			send(t, all[i%5], all[(i+1)%5].cfg.ID, fmt.Sprint("frame ", i), Stream)
			all[(i+1)%5].next(fmt.Append(nil, "frame ", i), Stream)
		}
		n.SetLoss(0)
		time.Sleep(20 * time.Second)
		expect(t, all, 5, "in the end")
	})
}

// Who is given a seed that does not take it is told why within seconds.
func TestASeedThatDoesNotTakeUsIsExplained(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		virtualPeer(t, n, "s", addrAt(0), withKey)
		f := func(i int, want string, change func(*Config)) {
			t.Helper()
			var got lines
			p := virtualPeer(t, n, fmt.Sprintf("p%d", i), addrAt(i), func(c *Config) {
				withKey(c)
				c.Seeds = []string{addrAt(0)}
				change(c)
				c.Logger = slog.New(&got)
			})
			time.Sleep(5 * time.Second)
			told := 0
			p.Close()
			all := got.take()
			for _, line := range all {
				if strings.HasPrefix(line, "WARN ") && want != "" && strings.Contains(line, want) {
					told++
				} else if strings.HasPrefix(line, "WARN ") && strings.Contains(line, "seed") {
					t.Errorf("peer %d is told: %s", i, line)
				}
			}
			if want != "" && (told == 0 || told > 5) {
				t.Errorf("peer %d is told %d times in 5 s that its seed %s:\n%s", i, told, want, strings.Join(all, "\n"))
			}
		}
		f(1, "belongs to another cluster", func(c *Config) { c.Cluster = "other" })
		f(2, "belongs to another cluster", func(c *Config) { c.Cluster, c.Keys = "other", nil })
		f(3, "does not have our key", func(c *Config) { c.Keys = [][]byte{[]byte("another key of 32 bytes, is it 32")[:32]} })
		f(4, "does not have our key", func(c *Config) { c.Keys = nil })
		f(5, "", func(c *Config) {})
		f(6, "does not answer", func(c *Config) { c.Seeds = []string{addrAt(99)} })
	})
}

func TestWhoLeftIsNotLookedForButMayComeBack(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		all := virtual(t, n, 3, nil)
		time.Sleep(5 * time.Second)
		if err := all[2].Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		all[2].Close()
		time.Sleep(time.Second)
		before := all[0].Stats().RejoinAttempts
		time.Sleep(5 * time.Minute)
		if s := all[0].Stats(); s.RejoinAttempts != before || s.Missing != 0 {
			t.Errorf("%d attempts to find who left, %d missing", s.RejoinAttempts-before, s.Missing)
		}
		if !stateOf("p02", Left)(all[0].Members()) {
			t.Errorf("members are %v", all[0].Members())
		}
		back := virtualPeer(t, n, "p02b", addrAt(2), func(c *Config) { c.Seeds = []string{addrAt(0)} })
		time.Sleep(5 * time.Second)
		expect(t, []*peer{all[0], all[1], back}, 3, "when it is back")
	})
}

func TestAStormOfJoinsComesToRest(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		n.SetDelay(time.Millisecond, 5*time.Millisecond)
		all := virtual(t, n, 25, nil)
		time.Sleep(10 * time.Second)
		expect(t, all, 25, "ten seconds after")
	})
}

func TestIslandsThatStartedAloneMergeOnceTheSeedIsThere(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		seeds := func(c *Config) { c.Seeds = []string{addrAt(9)} }
		a := virtualPeer(t, n, "a", addrAt(0), seeds)
		b := virtualPeer(t, n, "b", addrAt(1), seeds)
		time.Sleep(10 * time.Minute)
		expect(t, []*peer{a, b}, 1, "without the seed")
		s := virtualPeer(t, n, "s", addrAt(9), seeds)
		time.Sleep(25 * time.Second)
		expect(t, []*peer{a, b, s}, 3, "with the seed")
	})
}

func TestAPeerRestartsUnderItsName(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		all := virtual(t, n, 3, nil)
		time.Sleep(5 * time.Second)
		// At its old address, before anybody noticed.
		all[2].Close()
		again := virtualPeer(t, n, "p02", addrAt(2), func(c *Config) {
			c.Seeds, c.Meta = []string{addrAt(0)}, []byte("again")
		})
		time.Sleep(20 * time.Second)
		expect(t, []*peer{all[0], all[1], again}, 3, "at the old address")
		for _, m := range all[0].Members() {
			if m.ID == "p02" && string(m.Meta) != "again" {
				t.Errorf("its meta is %q", m.Meta)
			}
		}
		// At another address: a conflict until the old one is declared dead, and
		// then the next exchange of member lists tells it to speak up.
		again.Close()
		moved := virtualPeer(t, n, "p02", addrAt(7), func(c *Config) { c.Seeds = []string{addrAt(0)} })
		time.Sleep(4 * time.Minute)
		expect(t, []*peer{all[0], all[1], moved}, 3, "at the new address")
		send(t, all[0], "p02", "found you", Stream)
		moved.next([]byte("found you"), Stream)
	})
}

func TestTwoPeersOfOneNameAreAConflict(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		all := virtual(t, n, 2, nil)
		time.Sleep(5 * time.Second)
		virtualPeer(t, n, "p01", addrAt(5), func(c *Config) { c.Seeds = []string{addrAt(0)} })
		time.Sleep(5 * time.Second)
		if m := all[0].Members()[1]; !m.Conflict || m.Addr != addrAt(1) {
			t.Errorf("the member claimed twice is %+v", m)
		}
	})
}

func TestKeysRotateWhileTheClusterIsCut(t *testing.T) {
	old, fresh := testKey, []byte("fedcba9876543210")
	bubble(t, func(t *testing.T, n *memnet.Network) {
		all := virtual(t, n, 3, func(c *Config) { c.Keys = [][]byte{old, fresh} })
		time.Sleep(5 * time.Second)
		n.Split([]string{addrAt(0), addrAt(1)}, []string{addrAt(2)})
		time.Sleep(40 * time.Second)
		for i := range 2 { // one side restarts with the new key first
			all[i].Close()
			all[i] = virtualPeer(t, n, fmt.Sprintf("q%02d", i), addrAt(i), func(c *Config) {
				c.Keys, c.Seeds = [][]byte{fresh, old}, []string{addrAt(0)}
			})
		}
		time.Sleep(10 * time.Second)
		n.Heal()
		time.Sleep(25 * time.Second)
		expect(t, all, 3, "after healing")
		send(t, all[0], "p02", "new key", Stream)
		all[2].next([]byte("new key"), Stream)
		send(t, all[2], "q00", "old key", Stream)
		all[0].next([]byte("old key"), Stream)
	})
}

func TestCutByTheDevelopersHandIsACut(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		all := virtual(t, n, 3, func(c *Config) { c.Faults = true })
		time.Sleep(5 * time.Second)
		send(t, all[1], "p00", "before", Stream)
		all[0].next([]byte("before"), Stream)
		if err := all[0].Cut(addrAt(1), addrAt(2)); err != nil {
			t.Fatal(err)
		}
		send(t, all[1], "p00", "while cut", Stream)
		send(t, all[1], "p00", "while cut", Packet)
		time.Sleep(time.Minute)
		expect(t, all[:1], 1, "while cut")
		expect(t, all[1:], 2, "while cut")
		if len(all[0].inbox) != 0 {
			t.Error("a frame came through the cut")
		}
		s := all[0].Stats()
		if s.Missing != 2 || s.PartitionAge < 30*time.Second {
			t.Errorf("%d missing for %v; want 2, for over 30 s", s.Missing, s.PartitionAge)
		}
		all[0].Heal()
		time.Sleep(20 * time.Second)
		expect(t, all, 3, "after Heal")
		if s := all[0].Stats(); s.Missing != 0 || s.PartitionAge != 0 {
			t.Errorf("%d missing for %v after Heal", s.Missing, s.PartitionAge)
		}
	})
}

func TestFiftyIdlePeersCostLittle(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		const peers, span = 50, 5 * time.Minute
		n.SetDelay(time.Millisecond, 3*time.Millisecond)
		all := virtual(t, n, peers, func(c *Config) { c.Meta = make([]byte, 120); withKey(c) })
		time.Sleep(time.Minute)
		expect(t, all, peers, "at rest")
		before := n.Sent()
		time.Sleep(span)
		after := n.Sent()
		const udp, tcp = 28, 40 // headers; a stream segment carries 1,400 B
		packets := after.Packets - before.Packets
		streams := after.StreamBytes - before.StreamBytes
		total := after.PacketBytes - before.PacketBytes + packets*udp + streams + streams*tcp/1400
		rate := float64(total) / span.Seconds() / peers
		t.Logf("each of %d idle peers sends %.0f B/s", peers, rate)
		if rate > 2000 {
			t.Errorf("each idle peer sends %.0f B/s; want under 2,000", rate)
		}
	})
}

func TestTheInboxOwnsWhatItIsGiven(t *testing.T) {
	for name, change := range map[string]func(*Config){"plain": nil, "sealed": withKey} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *memnet.Network) {
				all := virtual(t, n, 2, change)
				time.Sleep(5 * time.Second)
				const frames = 5000
				for i := range frames {
					if i%500 == 0 {
						time.Sleep(10 * time.Millisecond) // memnet keeps no order within an instant, and the window is 1,024
					}
					send(t, all[0], "p01", fmt.Sprint(i), Packet)
				}
				time.Sleep(2 * time.Minute) // long enough for memnet to overwrite its buffers
				if len(all[1].inbox) != frames {
					t.Fatalf("took %d frames, want %d", len(all[1].inbox), frames)
				}
				for range frames {
					f := (<-all[1].inbox).frame
					var i int
					if _, err := fmt.Sscan(string(f), &i); err != nil || fmt.Sprint(i) != string(f) {
						t.Fatalf("took %q: a buffer was used again", f)
					}
				}
				expect(t, all, 2, "in the end")
			})
		})
	}
}

package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
)

// TestFiveProcessesEachInItsNetnsLoseNothing tests the promises of the daemon on a network
// that fails, with real processes and sockets, and packets that are really lost.
func TestFiveProcessesEachInItsNetnsLoseNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: takes most of a minute")
	}
	t.Parallel()
	newFleet(t).play(t, []episode{
		{"PeersMeet", peersMeet},
		{"SymmetricCutHeals", symmetricCutHeals},
		{"OneWayCutOfAPairIsRoutedAround", oneWayCutOfAPairIsRoutedAround},
		{"PeerThatOnlyHearsIsHeardAfterwards", peerThatOnlyHearsIsHeardAfterwards},
		{"OnePacketOfFiveLost", onePacketOfFiveLost},
		{"UDPBlockedHoldsNothingBack", udpBlockedHoldsNothingBack},
		{"KilledPeerFillsUp", killedPeerFillsUp},
		{"StoppedPeerCatchesUp", stoppedPeerCatchesUp},
		{"RollingRestartLosesNothing", rollingRestartLosesNothing},
	})
}

// TestFiveProcessesOnLoopbackLoseNothing tests the promises that need no root: processes
// are killed, stopped and restarted.
func TestFiveProcessesOnLoopbackLoseNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: takes half a minute")
	}
	t.Parallel()
	newLoopbackFleet(t).play(t, []episode{
		{"PeersMeet", peersMeet},
		{"KilledPeerFillsUp", killedPeerFillsUp},
		{"StoppedPeerCatchesUp", stoppedPeerCatchesUp},
		{"RollingRestartLosesNothing", rollingRestartLosesNothing},
	})
}

// episode is one fault of a fleet, with the check that follows it.
type episode struct {
	name string
	run  func(*testing.T, *fleet)
}

func (f *fleet) play(t *testing.T, episodes []episode) {
	for _, s := range episodes {
		began := time.Now()
		if !t.Run(s.name, func(t *testing.T) { s.run(t, f) }) {
			t.Fatal("the rest would start from a broken fleet")
		}
		t.Logf("%-36s %5.1f s", s.name, time.Since(began).Seconds())
	}
}

func peersMeet(t *testing.T, f *fleet) {
	ctx := f.patience(t)
	for _, p := range f.Peers {
		f.check(t, f.launch(p))
	}
	f.check(t, f.Together(ctx, f.Peers))
	f.write(t, ctx, "met", f.Peers...)
	f.healed(t, ctx)
}

func symmetricCutHeals(t *testing.T, f *fleet) {
	ctx := f.patience(t)
	left, right := f.Peers[:2], f.Peers[2:]
	f.check(t, errors.Join(f.net.cut(names(left), names(right)), f.net.cut(names(right), names(left))))
	f.writeFor(t, ctx, 15*time.Second, "apart", f.Peers...)
	f.check(t, errors.Join(f.Agree(ctx, left), f.Agree(ctx, right)))
	f.differ(t, ctx)
	f.healed(t, ctx)
}

// n1 cannot reach n2, and the others pass the write on: no reader has to wait for the cut
// to heal.
func oneWayCutOfAPairIsRoutedAround(t *testing.T, f *fleet) {
	ctx := f.patience(t)
	f.check(t, f.net.cut([]string{"n1"}, []string{"n2"}))
	f.writeFor(t, ctx, 3*time.Second, "pair", f.Peers...)
	f.converged(t, ctx, "with n1 to n2 cut")
	f.healed(t, ctx)
}

func peerThatOnlyHearsIsHeardAfterwards(t *testing.T, f *fleet) {
	ctx := f.patience(t)
	f.check(t, f.net.cut([]string{"n1"}, names(f.Peers[1:])))
	f.writeFor(t, ctx, 8*time.Second, "mute", f.Peers...)
	f.check(t, f.Agree(ctx, f.Peers[1:]))
	f.differ(t, ctx)
	f.healed(t, ctx)
}

func onePacketOfFiveLost(t *testing.T, f *fleet) {
	ctx := f.patience(t)
	f.check(t, f.net.lose(5))
	for i := range 200 {
		p := f.Peers[i%len(f.Peers)]
		f.put(t, ctx, p, fmt.Sprintf("lossy/%d", i), p.Name)
		pause(ctx, 10*time.Millisecond) // many packets rather than a few full ones
	}
	f.converged(t, ctx, "with one packet of five lost")
	lost, err := f.net.lost()
	f.check(t, err)
	t.Logf("%d packets lost", lost)
	if lost == 0 {
		t.Error("no packet was lost")
	}
	f.healed(t, ctx)
}

// No UDP passes between n1 and the others, nor from n2 to n3. Small writes arrive by TCP,
// all peers stay members, and the peers report the blocked paths.
func udpBlockedHoldsNothingBack(t *testing.T, f *fleet) {
	ctx := f.patience(t)
	for _, p := range f.Peers[1:] {
		f.check(t, errors.Join(f.net.cutPackets("n1", p.Name), f.net.cutPackets(p.Name, "n1")))
	}
	f.check(t, f.net.cutPackets("n2", "n3"))
	f.write(t, ctx, "streams", f.Peers...)
	f.converged(t, ctx, "with UDP blocked")
	for _, want := range []struct {
		from, to string
		way      agent.Packets
	}{
		{"n1", "n5", agent.Packets{To: "blocked", From: "blocked"}},
		{"n2", "n3", agent.Packets{To: "blocked", From: "pass"}},
		{"n3", "n2", agent.Packets{To: "pass", From: "blocked"}},
		{"n4", "n5", agent.Packets{To: "pass", From: "pass"}},
	} {
		f.says(t, ctx, want.from, want.to, want.way)
	}
	f.check(t, f.Together(ctx, f.Peers)) // nobody was taken for dead
	f.healed(t, ctx)
	f.says(t, ctx, "n1", "n5", agent.Packets{To: "pass", From: "pass"})
	f.says(t, ctx, "n3", "n2", agent.Packets{To: "pass", From: "pass"})
}

// says waits until one peer reports whether packets pass to another.
func (f *fleet) says(t *testing.T, ctx context.Context, one, other string, want agent.Packets) {
	t.Helper()
	p := f.Peers[slices.Index(names(f.Peers), one)]
	for {
		list, err := p.Client.Members(ctx)
		f.check(t, err)
		for _, m := range list {
			if m.Name == other && m.State == "alive" && m.Packets == want {
				return
			}
		}
		if pause(ctx, 100*time.Millisecond); ctx.Err() != nil {
			t.Fatalf("%s does not say of %s that packets are %+v, but %+v", one, other, want, list)
		}
	}
}

func killedPeerFillsUp(t *testing.T, f *fleet) {
	ctx := f.patience(t)
	p := f.Peers[3]
	f.check(t, p.Cmd.Process.Kill())
	_ = p.Cmd.Wait() // it was killed, and says so
	f.write(t, ctx, "killed", f.others(p)...)
	f.check(t, f.launch(p))
	f.check(t, f.ready(ctx, p))
	// The counts of both its lives must count, although the second life has no memory of
	// the first.
	f.write(t, ctx, "revived", f.Peers...)
	f.healed(t, ctx)
}

func stoppedPeerCatchesUp(t *testing.T, f *fleet) {
	ctx := f.patience(t)
	p := f.Peers[4]
	f.check(t, p.Cmd.Process.Signal(syscall.SIGSTOP))
	f.delete(t, ctx, f.Peers[0], "met/n1")
	f.writeFor(t, ctx, 5*time.Second, "stopped", f.others(p)...)
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if p.Client.Do(short, "GET", "/healthz", nil, nil, nil, nil) == nil {
		t.Fatalf("%s answers while it is stopped", p.Name)
	}
	f.check(t, p.Cmd.Process.Signal(syscall.SIGCONT))
	f.healed(t, ctx)
}

func rollingRestartLosesNothing(t *testing.T, f *fleet) {
	ctx := f.patience(t)
	before := len(f.values)
	writing, enough := context.WithCancel(ctx)
	var writers sync.WaitGroup
	for _, p := range f.Peers {
		writers.Go(func() {
			for i := 0; writing.Err() == nil; i++ {
				key := fmt.Sprintf("rolling/%s/%d", p.Name, i)
				if p.Put(ctx, key, fmt.Sprintf("%q", p.Name)) == nil {
					f.acknowledged(key, p.Name)
				}
				pause(writing, 10*time.Millisecond)
			}
		})
	}
	t.Cleanup(func() { enough(); writers.Wait() })
	for _, p := range f.Peers {
		began := time.Now()
		f.check(t, p.Cmd.Process.Signal(syscall.SIGTERM))
		if err := p.Cmd.Wait(); err != nil {
			t.Errorf("%s: a peaceful stop: %v", p.Name, err)
		}
		stopped := time.Since(began)
		f.check(t, f.launch(p))
		f.check(t, f.ready(ctx, p))
		t.Logf("%s: stopped in %v, ready after %v", p.Name, stopped.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	}
	enough()
	writers.Wait()
	t.Logf("%d writes acknowledged meanwhile", len(f.values)-before)
	f.healed(t, ctx)
}

package fleet

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/local"
)

// soon is the bound of the time until a write is on every peer that TCP reaches.
const soon = 2 * time.Second

// arrives has each peer write, and fails if a peer does not have all writes soon.
func (f *fleet) arrives(t *testing.T, ctx context.Context, round string) {
	t.Helper()
	f.write(t, ctx, round, f.Peers...)
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	f.converged(t, ctx, round)
}

// blockPackets lets no UDP pass between any two peers.
func (f *fleet) blockPackets(t *testing.T) {
	t.Helper()
	for _, p := range f.Peers {
		for _, q := range f.others(p) {
			f.check(t, f.net.cutPackets(p.Name, q.Name))
		}
	}
}

// in runs the program in the namespace of a peer, and returns its output.
func (f *fleet) in(t *testing.T, ctx context.Context, where string, args ...string) (string, error) {
	t.Helper()
	var both bytes.Buffer
	cmd := exec.CommandContext(ctx, f.Self, args...)
	cmd.Stdout, cmd.Stderr, cmd.Env = &both, &both, append(os.Environ(), "SENTINEL_CONFIG=")
	f.check(t, f.net.homes[where].do(cmd.Start))
	err := cmd.Wait()
	return both.String(), err
}

// Only TCP passes between peers from the start. Everything works, and all peers report the
// blocked paths.
func TestTCPAloneIsEnough(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: starts daemons")
	}
	t.Parallel()
	f := newFleetAt(t, "10.77.0.1", "10.77.0.2", "10.77.0.3", "10.77.0.4")
	ctx := f.patience(t)
	f.blockPackets(t)
	newcomer := f.Peers[3]
	f.Peers = f.Peers[:3]
	for _, p := range f.Peers {
		f.check(t, f.launch(p))
	}
	f.check(t, f.Together(ctx, f.Peers))
	f.arrives(t, ctx, "first")
	began := time.Now()
	if said, err := f.in(t, ctx, "n1", "put", "copied", "--replicas", "2", `"yes"`); err != nil || time.Since(began) > soon+time.Second {
		t.Errorf("put --replicas: after %v: %v: %s", time.Since(began), err, said)
	}
	f.acknowledged("copied", "yes")
	f.arrives(t, ctx, "second")
	for _, p := range f.Peers {
		for _, q := range f.others(p) {
			f.says(t, ctx, p.Name, q.Name, agent.Packets{To: "blocked", From: "blocked"})
		}
	}
	for _, args := range [][]string{{"status"}, {"doctor", "--cluster", "netns", "--name", "n1", "--bind", f.Peers[0].Gossip, "--key-file", f.KeyFile()}} {
		said, err := f.in(t, ctx, "n1", args...)
		f.check(t, err)
		contains(t, said, "packets", "UDP does not pass")
	}
	f.doctorAt(t, ctx, newcomer, "no packet passes", "open port 7946 for UDP there")
	f.check(t, f.net.heal())
	f.doctorAt(t, ctx, newcomer, "packets pass to 10.77.0.1:7946 and back")
	for _, p := range f.Peers {
		for _, q := range f.others(p) {
			f.says(t, ctx, p.Name, q.Name, agent.Packets{To: "pass", From: "pass"})
		}
	}
	f.blockPackets(t)
	f.arrives(t, ctx, "blocked anew")
	f.check(t, f.net.heal())
	f.check(t, f.net.cutPackets("n1", newcomer.Name))
	f.doctorAt(t, ctx, newcomer, "no packet passes")
}

// doctorAt runs the doctor where no daemon runs, and checks whether the first peer can be
// joined.
func (f *fleet) doctorAt(t *testing.T, ctx context.Context, where *local.Process, wants ...string) {
	t.Helper()
	said, err := f.in(t, ctx, where.Name, "doctor", "--cluster", "netns", "--name", where.Name, "--bind", where.Gossip,
		"--key-file", f.KeyFile(), "--state-dir", f.Dir, "--join", f.Peers[0].Gossip)
	if err != nil {
		t.Errorf("doctor: %v", err)
	}
	contains(t, said, append(wants, "would accept this peer")...)
}

// A peer at an IPv6 address and peers at IPv4 addresses exchange no packets, although their
// machines have addresses of both kinds.
func TestAPeerOfIPv6BesidePeersOfIPv4(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: starts daemons")
	}
	t.Parallel()
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skipf("SKIP: this machine has no IPv6: %v", err)
	}
	l.Close()
	f := newFleetAt(t, "fd77::1", "10.77.0.2", "10.77.0.3")
	ctx := f.patience(t)
	for _, p := range f.Peers {
		f.check(t, f.launch(p))
	}
	f.check(t, f.Together(ctx, f.Peers))
	for round := range 3 {
		f.arrives(t, ctx, fmt.Sprintf("round-%d", round))
	}
	f.says(t, ctx, "n1", "n2", agent.Packets{To: "blocked", From: "blocked"})
	f.says(t, ctx, "n3", "n1", agent.Packets{To: "blocked", From: "blocked"})
	f.says(t, ctx, "n2", "n3", agent.Packets{To: "pass", From: "pass"})
}

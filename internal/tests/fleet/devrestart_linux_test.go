package fleet

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/local"
)

// The first peer of --dev is ended and started again. It has its data at once, because it
// joins the second peer, which does not know its new address.
func TestTheFirstDevPeerIsSoonBackAmongTheOthers(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: starts daemons")
	}
	t.Parallel()
	self, err := exec.LookPath("sentinel-peer")
	if err != nil {
		t.Fatal(err)
	}
	addrs, err := local.FreeAddrs(4)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), local.Patience)
	defer cancel()
	tmp := t.TempDir()
	start := func(gossip, http string) *local.Process {
		p := &local.Process{Gossip: gossip, Client: client.Client{Addr: http, Timeout: local.Patience}}
		p.Cmd = exec.CommandContext(ctx, self, "agent", "--dev", "--bind", gossip, "--http", http)
		p.Cmd.Env = append(os.Environ(), "SENTINEL_CONFIG=", "SENTINEL_STATE_DIR=", "TMPDIR="+tmp)
		if err := p.Cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Cmd.Process.Kill() })
		return p
	}
	d := local.Fleet{}
	together := func(ctx context.Context, peers ...*local.Process) {
		t.Helper()
		if err := d.Together(ctx, peers); err != nil {
			t.Fatal(err)
		}
	}
	first := start(addrs[0], addrs[1])
	together(ctx, first)
	second := start(addrs[2], addrs[3])
	together(ctx, first, second)
	if err := second.Put(ctx, "greeting", `"hello"`); err != nil {
		t.Fatal(err)
	}
	if err := first.Cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	ended(t, first.Cmd, 0)
	began := time.Now()
	soon, stop := context.WithTimeout(ctx, 10*time.Second) // the second looks again after half a minute
	defer stop()
	first = start(addrs[0], addrs[1])
	together(soon, first, second)
	if list, err := entries(ctx, first); err != nil || !strings.Contains(fmt.Sprint(list), "greeting") {
		t.Errorf("%v, %v", list, err)
	}
	t.Logf("back after %v", time.Since(began).Round(time.Millisecond))
	for _, p := range []*local.Process{first, second} {
		if err := p.Cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		ended(t, p.Cmd, 0)
	}
}

package cli

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Who ends the first peer of --dev and starts it again finds its data there at once, for
// it joins the second, which cannot know where to look for it.
func TestTheFirstDevPeerIsSoonBackAmongTheOthers(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: starts daemons")
	}
	t.Parallel()
	self, err := exec.LookPath("sentinel-peer")
	if err != nil {
		t.Fatal(err)
	}
	addrs, err := freeAddrs(4)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), demoPatience)
	defer cancel()
	tmp := t.TempDir()
	start := func(gossip, http string) *process {
		p := &process{gossip: gossip, client: client{addr: http, timeout: demoPatience}}
		p.cmd = exec.CommandContext(ctx, self, "agent", "--dev", "--bind", gossip, "--http", http)
		p.cmd.Env = append(os.Environ(), "SENTINEL_CONFIG=", "SENTINEL_STATE_DIR=", "TMPDIR="+tmp)
		if err := p.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.cmd.Process.Kill() })
		return p
	}
	d := demo{}
	together := func(ctx context.Context, peers ...*process) {
		t.Helper()
		if err := d.together(ctx, peers); err != nil {
			t.Fatal(err)
		}
	}
	first := start(addrs[0], addrs[1])
	together(ctx, first)
	second := start(addrs[2], addrs[3])
	together(ctx, first, second)
	if err := second.put(ctx, "greeting", `"hello"`); err != nil {
		t.Fatal(err)
	}
	if err := first.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	ended(t, first.cmd, 0)
	began := time.Now()
	soon, stop := context.WithTimeout(ctx, 10*time.Second) // the second looks again after half a minute
	defer stop()
	first = start(addrs[0], addrs[1])
	together(soon, first, second)
	if list, err := first.entries(ctx); err != nil || !strings.Contains(fmt.Sprint(list), "greeting") {
		t.Errorf("%v, %v", list, err)
	}
	t.Logf("back after %v", round(time.Since(began)))
	for _, p := range []*process{first, second} {
		if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		ended(t, p.cmd, 0)
	}
}

package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/local"
)

// TestCommandsOutliveTheirDaemons stops and starts each of three daemons, under a lock
// command and a worker that know them all. The command runs once and holds the lock
// throughout, no other client gets the lock, and each item is completed once.
func TestCommandsOutliveTheirDaemons(t *testing.T) {
	if testing.Short() {
		t.Skip("starts daemons")
	}
	t.Parallel()
	const items, ttl = 500, "10s"
	v := newVoting(t, "--max-ttl", ttl) // a voter that starts again is silent for a little longer
	v.Flags = slices.DeleteFunc(v.Flags, func(f string) bool { return f == "--first-boot" })
	n1, n2, n3 := v.Peers[0], v.Peers[1], v.Peers[2]
	all := func(first *local.Process) string {
		addrs := []string{first.Client.Addr}
		for _, p := range v.Peers {
			if p != first {
				addrs = append(addrs, p.Client.Addr)
			}
		}
		return strings.Join(addrs, ",")
	}
	for i := range items {
		body := fmt.Appendf(nil, `{"value":%d,"id":"item-%d","max_attempts":1000}`, i, i)
		v.ok(n1.Client.Do(v.ctx, "POST", client.QueuePath("q", "items"), map[string][]string{"replicas": {"2"}}, body, nil, nil))
	}

	account := filepath.Join(v.Dir, "account") // of who held the lock, in order
	first := v.lock(n1, "k", "--http", all(n1), "--ttl", ttl, "--", "sh", "-c", "echo first >>"+account+"; "+holding).hold()
	second := v.lock(n2, "k", "--http", all(n2), "--ttl", ttl, "--wait", "2m", "--", "sh", "-c", "echo second >>"+account)
	v.waiting(n3, "k")
	worker := exec.Command(v.Self, "queue", "work", "q", "--http", all(n1), "--ttl", ttl, "--", "sleep", "0.2")
	var report bytes.Buffer
	worker.Stdout, worker.Stderr = &report, t.Output()
	v.ok(worker.Start())
	t.Cleanup(func() { _ = worker.Process.Kill() })
	depth := func(p *local.Process) (d workqueue.Depth) {
		v.Helper()
		v.ok(p.Client.Do(v.ctx, "GET", client.QueuePath("q"), nil, nil, nil, &d))
		return d
	}

	for _, p := range v.Peers {
		v.ok(p.Cmd.Process.Signal(syscall.SIGTERM))
		v.ok(p.Cmd.Wait())
		v.ok(v.Launch(p))
		v.ok(local.Until(v.ctx, p.Name+" votes again", func() error { return certifies(v.ctx, p, "k") }))
		seen := depth(p).Done
		v.ok(local.Until(v.ctx, "the claim that it may not know is over", func() error {
			if depth(p).Done < seen+2 {
				return errors.New("no item was completed")
			}
			return nil
		}))
	}
	if got, err := os.ReadFile(account); string(got) != "first\n" {
		t.Errorf("the lock was held by %q, %v", got, err)
	}
	first.signal(syscall.SIGTERM, first.cmd.Process.Pid)
	first.exits(128+15, ``)
	second.exits(0, ``)
	if got, err := os.ReadFile(account); string(got) != "first\nsecond\n" {
		t.Errorf("the lock was held by %q, %v", got, err)
	}

	v.ok(worker.Process.Signal(syscall.SIGTERM))
	v.ok(worker.Wait())
	completed := map[string]int{}
	for line := range strings.Lines(report.String()) {
		if words := strings.Fields(line); words[1] != "completed" && words[1] != "returned" {
			t.Error(line)
		} else if words[1] == "completed" {
			completed[words[0]]++
		}
	}
	for id, n := range completed {
		if n != 1 {
			t.Errorf("%s was completed %d times", id, n)
		}
	}
	if d := depth(n1); len(completed) != d.Done || d.Done+d.Pending != items || d.Dead != 0 {
		t.Errorf("%d of %d were completed, and %+v", len(completed), items, d)
	}
	t.Logf("%d items", len(completed))
}

// certifies returns an error unless a voter is past its silence and has the same record of
// the lock as the two others.
func certifies(ctx context.Context, p *local.Process, lock string) error {
	metrics, err := page(ctx, p.Client.Addr, "/metrics")
	if err != nil {
		return err
	}
	if !strings.Contains(metrics, "\nsentinel_locks_quarantine_seconds 0\n") {
		return errors.New("it is silent")
	}
	var info api.LockInfo
	if err := p.Client.Do(ctx, "GET", client.KeyPath("/v1/locks/", lock), nil, nil, nil, &info); err != nil {
		return err
	}
	if len(info.Holders) != 1 || info.Holders[0].Voters < 3 {
		return fmt.Errorf("not all have it on record: %+v", info)
	}
	return nil
}

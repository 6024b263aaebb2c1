package fleet

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"syscall"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/internal/cli/local"
)

// At its start a daemon limits its heap by its control group, unless the user has set a
// limit. The files of the control group here allow 10 GiB.
func TestADaemonLimitsItsHeap(t *testing.T) {
	if out, err := exec.Command("unshare", "--mount", "mount", "-t", "tmpfs", "none", "/sys/fs/cgroup").CombinedOutput(); err != nil {
		t.Skipf("SKIP: no file system can be mounted in a namespace: %v, %s", err, out)
	}
	t.Parallel()
	self, err := exec.LookPath("sentinel-peer")
	if err != nil {
		t.Fatal(err)
	}
	const group = 10 << 30
	limited := fmt.Sprintf(`mount -t tmpfs none /sys/fs/cgroup && mkdir /sys/fs/cgroup/memory &&
echo %d | tee /sys/fs/cgroup/memory.max > /sys/fs/cgroup/memory/memory.limit_in_bytes && exec "$@"`, group)
	for said, want := range map[string]int{"": group / 10 * 9, "3GiB": 3 << 30} {
		addrs, err := local.FreeAddrs(2)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), local.Patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, "unshare", "--mount", "sh", "-c", limited, "sh",
			self, "agent", "--cluster", "heap", "--name", "n1", "--bind", addrs[0], "--http", addrs[1], "--state-dir", "none")
		cmd.Env = append(os.Environ(), "SENTINEL_CONFIG=", "GOMEMLIMIT="+said)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill() })
		got := 0
		if err := local.Until(ctx, "metrics", func() (err error) {
			got, err = heapLimit(ctx, addrs[1])
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("GOMEMLIMIT=%s in a group of %d bytes: the limit is %d, want %d", said, group, got, want)
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		ended(t, cmd, 0)
	}
}

var heapLimitLine = regexp.MustCompile(`(?m)^go_gc_gomemlimit_bytes (\S+)$`)

// heapLimit returns the heap limit of a daemon, from its metrics.
func heapLimit(ctx context.Context, addr string) (bytes int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err
	}
	m := heapLimitLine.FindSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("no go_gc_gomemlimit_bytes among the metrics")
	}
	f, err := strconv.ParseFloat(string(m[1]), 64)
	return int(f), err
}

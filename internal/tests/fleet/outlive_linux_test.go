package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/console"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/hold"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/local"
)

// nobodyReads returns the writing end of a pipe. Its reader is gone, or the pipe is full
// and its reader does not read.
func nobodyReads(t *testing.T, gone bool) *os.File {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	r, w := os.NewFile(uintptr(fds[0]), "reader"), os.NewFile(uintptr(fds[1]), "writer")
	t.Cleanup(func() { r.Close(); w.Close() })
	if gone {
		r.Close()
	} else {
		for err := error(nil); err == nil; {
			_, err = unix.Write(fds[1], make([]byte, 4096))
		}
	}
	if err := unix.SetNonblock(fds[1], false); err != nil {
		t.Fatal(err)
	}
	return w
}

// unread runs a test for each way in which no reader takes the output of a process.
func unread(t *testing.T, run func(t *testing.T, out *os.File, shell string)) {
	for name, gone := range map[string]bool{"Gone": true, "Full": false} {
		for signal, shell := range map[string]string{"": "", "SIGPIPEIgnored": `trap "" PIPE; `} {
			t.Run(name+signal, func(t *testing.T) { run(t, nobodyReads(t, gone), shell) })
		}
	}
}

// ended waits for the end of a process, and checks its exit code.
func ended(t *testing.T, cmd *exec.Cmd, code int) {
	t.Helper()
	late := time.AfterFunc(local.Patience, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != code {
		t.Errorf("%v: exit code %d, want %d", err, cmd.ProcessState.ExitCode(), code)
	}
}

// A daemon serves and ends in order although no reader takes its output.
func TestADaemonOutlivesWhoReadsItsLog(t *testing.T) {
	if testing.Short() {
		t.Skip("starts daemons")
	}
	t.Parallel()
	self, err := exec.LookPath("sentinel-peer")
	if err != nil {
		t.Fatal(err)
	}
	unread(t, func(t *testing.T, out *os.File, shell string) {
		addrs, err := local.FreeAddrs(2)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sh", "-c", shell+`exec "$0" "$@"`, self, "agent", "--dev", "--log-level", "debug", "--bind", addrs[0], "--http", addrs[1])
		cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer cmd.Process.Kill()
		ctx, cancel := context.WithTimeout(t.Context(), local.Patience)
		defer cancel()
		c := client.Client{Addr: addrs[1], Timeout: local.Patience}
		ask := func() error { return c.Do(ctx, "GET", "/readyz", nil, nil, nil, nil) }
		if err := local.Until(ctx, "ready", ask); err != nil {
			t.Fatal(err)
		}
		for range 2 * console.MaxWaiting { // a line each
			if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			if err := ask(); err != nil {
				t.Fatal(err)
			}
		}
		if err := local.Until(ctx, "lines are lost", func() error { return lossTold(ctx, addrs[1]) }); err != nil {
			t.Error(err)
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		ended(t, cmd, 0)
	})
}

// lossTold checks that the metric counts the lost lines.
func lossTold(ctx context.Context, addr string) error {
	text, err := page(ctx, addr, "/metrics")
	if err == nil && (!strings.Contains(text, "\nsentinel_log_lines_lost_total ") || strings.Contains(text, "\nsentinel_log_lines_lost_total 0\n")) {
		err = errors.New("no line was lost")
	}
	return err
}

// page returns the page of a daemon at a path.
func page(ctx context.Context, addr, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+addr+path, nil)
	if err != nil {
		return "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return string(text), err
}

// The lock command ends the command under it when the lock is lost, although no reader
// takes its output.
func TestALockOutlivesWhoReadsItsMessages(t *testing.T) {
	if testing.Short() {
		t.Skip("starts daemons")
	}
	t.Parallel()
	unread(t, func(t *testing.T, out *os.File, shell string) {
		p := newDaemon(t)
		line := p.command("")
		cmd := exec.Command("sh", "-c", shell+`exec "$0" lock k --ttl 500ms -- sh -c 'echo held; exec sleep 100'`, p.self)
		cmd.Env, cmd.Stderr = line.Env, out
		lines, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer cmd.Process.Kill()
		if got := (&bufferedLines{r: lines}).next(); strings.TrimSpace(got) != "held" {
			t.Fatalf("%q", got)
		}
		if err := p.Cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		ended(t, cmd, hold.ExitLost)
	})
}

// A worker handles its items although no reader takes its report, and its exit says that
// the report is lost.
func TestAWorkerOutlivesWhoReadsItsReport(t *testing.T) {
	if testing.Short() {
		t.Skip("starts daemons")
	}
	t.Parallel()
	p := newDaemon(t)
	unread(t, func(t *testing.T, out *os.File, shell string) {
		queue := "q" + strings.ReplaceAll(t.Name(), "/", "-")
		for range 2 {
			if said, err := p.command("queue put " + queue + " 1").CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, said)
			}
		}
		cmd := exec.Command("sh", "-c", shell+`exec "$0" "$@"`, p.self, "queue", "work", queue, "--count", "2", "--", "sh", "-c", "echo said >&2")
		cmd.Env, cmd.Stdout, cmd.Stderr = p.command("").Env, out, out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended(t, cmd, api.ExitOther)
		if depth, err := p.command("queue depth " + queue).Output(); err != nil || !strings.Contains(string(depth), "\n0        0        0        2     0") {
			t.Errorf("%v: %s", err, depth)
		}
	})
}

// A bridge whose client does not read ends in order: when the client is gone, or on a
// signal.
func TestABridgeEndsThoughItsClientDoesNotRead(t *testing.T) {
	if testing.Short() {
		t.Skip("starts daemons")
	}
	t.Parallel()
	p := newDaemon(t)
	unread(t, func(t *testing.T, out *os.File, shell string) {
		for _, told := range []bool{false, true} {
			if told && !strings.Contains(t.Name(), "Full") { // who is gone ends it anyway
				continue
			}
			cmd := exec.Command("sh", "-c", shell+`exec "$0" mcp --log-level debug`, p.self)
			theirs, in, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer theirs.Close()
			cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = p.command("").Env, theirs, out, out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			for id := range 2 {
				if _, err := fmt.Fprintf(in, `{"jsonrpc":"2.0","id":%d,"method":"ping"}`+"\n", id); err != nil {
					t.Fatal(err)
				}
			}
			code := api.ExitOther
			if told {
				code = 0
				if err := local.Until(t.Context(), "reading", func() error { return drained(in) }); err != nil {
					t.Fatal(err)
				}
				_ = cmd.Process.Signal(syscall.SIGTERM)
			} else {
				in.Close()
			}
			ended(t, cmd, code)
			in.Close()
		}
	})
}

// drained returns an error while a pipe has bytes that are not read.
func drained(pipe *os.File) error {
	n, err := unix.IoctlGetInt(int(pipe.Fd()), unix.TIOCINQ)
	if err == nil && n > 0 {
		err = fmt.Errorf("%d bytes are left", n)
	}
	return err
}

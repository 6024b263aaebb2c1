package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/hold"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/local"
	"github.com/sentinel-peer/sentinel-peer/lockservice/fence"
)

// The command under the lock prints its token, the number of its process, and that of a
// process that it has started. It then waits for a signal.
const holding = `sleep 100 & echo $SENTINEL_LOCK_TOKEN $$ $!; wait`

// voting is three daemons that are the three voters.
type voting struct {
	local.Fleet
	*testing.T
	ctx context.Context
}

func newVoting(t *testing.T, flags ...string) *voting {
	self, err := exec.LookPath("sentinel-peer")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	v := &voting{T: t, ctx: ctx}
	v.Fleet = local.Fleet{Self: self, Dir: t.TempDir(), Batch: "0",
		Flags: append(flags, "--voters", "n1,n2,n3", "--first-boot")}
	t.Cleanup(v.Stop)
	v.ok(v.Seal())
	v.ok(v.Start(ctx))
	return v
}

func (v *voting) ok(err error) {
	v.Helper()
	if err == nil {
		return
	}
	for _, p := range v.Peers {
		log, _ := os.ReadFile(p.Log.Name())
		v.Logf("%s:\n%s", p.Name, log)
	}
	v.Fatal(err)
}

// holder is a run of the lock command.
type holder struct {
	v      *voting
	cmd    *exec.Cmd
	out    *bufferedLines
	stderr bytes.Buffer
	token  uint64
	worker int // process of the command that it runs, and its group
	child  int // process that this has started
}

// lock starts the lock command through p.
func (v *voting) lock(p *local.Process, name string, args ...string) *holder {
	v.Helper()
	h := &holder{v: v, cmd: exec.Command(v.Self, append([]string{"lock", name, "--http", p.Client.Addr}, args...)...)}
	h.cmd.Stderr = &h.stderr
	out, err := h.cmd.StdoutPipe()
	v.ok(err)
	h.out = &bufferedLines{r: out}
	v.ok(h.cmd.Start())
	v.Cleanup(func() {
		_ = h.cmd.Process.Kill()
		if h.worker != 0 {
			_ = syscall.Kill(-h.worker, syscall.SIGKILL)
		}
	})
	return h
}

// hold waits until the command under the lock has printed its line.
func (h *holder) hold() *holder {
	h.v.Helper()
	line := h.out.next()
	if _, err := fmt.Sscan(line, &h.token, &h.worker, &h.child); err != nil {
		_ = h.cmd.Wait()
		h.v.ok(fmt.Errorf("%v: %q, %s", h.cmd.Args, line, h.stderr.Bytes()))
	}
	return h
}

// exits waits for the end of the lock command, and checks its exit code and output.
func (h *holder) exits(code int, says string) {
	h.v.Helper()
	err := h.cmd.Wait()
	if got := h.cmd.ProcessState.ExitCode(); got != code || !regexp.MustCompile(says).Match(h.stderr.Bytes()) {
		h.v.ok(fmt.Errorf("%v: exit code %d, %v, %q; want %d, %q", h.cmd.Args, got, err, h.stderr.Bytes(), code, says))
	}
}

func (h *holder) signal(s syscall.Signal, pids ...int) {
	h.v.Helper()
	for _, pid := range pids {
		h.v.ok(syscall.Kill(pid, s))
	}
}

// gone waits until the command under the lock has ended, with the process that it started.
func (h *holder) gone() {
	h.v.Helper()
	for _, pid := range []int{h.worker, h.child} {
		h.v.ok(local.Until(h.v.ctx, "waiting for the command's end", func() error {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			if err != nil || strings.Contains(string(stat), ") Z ") {
				return nil
			}
			return fmt.Errorf("%s", stat)
		}))
	}
}

// bufferedLines reads one line at a time, and no byte beyond it.
type bufferedLines struct {
	r interface{ Read([]byte) (int, error) }
}

func (b *bufferedLines) next() string {
	var line []byte
	for c := make([]byte, 1); ; {
		if n, err := b.r.Read(c); n == 0 && err != nil || c[0] == '\n' {
			return string(line)
		}
		line = append(line, c[0])
	}
}

// waiting waits until a client waits for a lock.
func (v *voting) waiting(p *local.Process, name string) {
	v.Helper()
	v.ok(local.Until(v.ctx, "waiting for a waiter", func() error {
		var info api.LockInfo
		if err := p.Client.Do(v.ctx, "GET", client.KeyPath("/v1/locks/", name), nil, nil, nil, &info); err != nil {
			return err
		}
		if info.Waiting == 0 {
			return errors.New("nobody waits")
		}
		return nil
	}))
}

// TestLocksOfProcesses tests the promises to a user who runs a command under a lock, with
// real daemons and commands that are stopped and killed.
func TestLocksOfProcesses(t *testing.T) {
	t.Parallel()
	v := newVoting(t)
	n1, n2, n3 := v.Peers[0], v.Peers[1], v.Peers[2]

	// A lock moves on when its command ends, with a higher token.
	first := v.lock(n1, "k", "--ttl", "5s", "--", "sh", "-c", holding).hold()
	second := v.lock(n2, "k", "--ttl", "3s", "--", "sh", "-c", holding)
	v.waiting(n3, "k")
	v.lock(n3, "k", "--wait", "1s", "--", "true").exits(hold.ExitWaited, `waited 1s`)
	first.signal(syscall.SIGTERM, first.cmd.Process.Pid) // passed on to the command
	first.exits(128+15, `^$`)
	if second.hold().token <= first.token {
		t.Errorf("token %d after %d", second.token, first.token)
	}

	// A waiter that is told to end gives its place up.
	third := v.lock(n3, "k", "--", "true")
	v.waiting(n1, "k")
	third.signal(syscall.SIGINT, third.cmd.Process.Pid)
	third.exits(128+2, `while waiting`)

	// The lock command is killed and cannot release its lock. The command under it ends at
	// once, and the lock moves on after its TTL.
	second.signal(syscall.SIGKILL, second.cmd.Process.Pid)
	second.gone()
	_ = second.cmd.Wait()
	v.lock(n1, "k", "--", "true").exits(0, `^$`)

	v.pausedHolderIsFencedOff(n1, n2)
	v.losesMajority(n1, n2, n3)
}

// pausedHolderIsFencedOff pauses a holder for longer than its TTL. Another client takes the
// lock and writes. The first one's write after its resume is refused.
func (v *voting) pausedHolderIsFencedOff(p, q *local.Process) {
	guard := fence.NewFile(filepath.Join(v.Dir, "fence"))
	first := v.lock(p, "paused", "--ttl", "2s", "--grace", "100ms", "--", "sh", "-c", "trap '' TERM; "+holding).hold()
	v.ok(guard.Check(v.ctx, "paused", first.token))
	first.signal(syscall.SIGSTOP, first.cmd.Process.Pid, -first.worker)
	second := v.lock(q, "paused", "--ttl", "5s", "--", "sh", "-c", holding).hold()
	v.ok(guard.Check(v.ctx, "paused", second.token))
	first.signal(syscall.SIGCONT, -first.worker, first.cmd.Process.Pid)
	if err := guard.Check(v.ctx, "paused", first.token); !errors.Is(err, fence.ErrStale) {
		v.Errorf("a late write with token %d after %d: %v", first.token, second.token, err)
	}
	first.exits(hold.ExitLost, `lock "paused" was lost`)
	first.gone()
	second.signal(syscall.SIGTERM, second.cmd.Process.Pid)
	second.exits(128+15, `^$`)
}

// losesMajority ends two of three voters.
func (v *voting) losesMajority(n1, n2, n3 *local.Process) {
	kept := v.lock(n1, "kept", "--ttl", "2s", "--", "sh", "-c", holding).hold()
	v.ok(n3.Cmd.Process.Kill())
	_ = n3.Cmd.Wait()
	v.lock(n2, "one down", "--", "true").exits(0, `^$`)
	if kept.cmd.Process.Signal(syscall.Signal(0)) != nil {
		v.Error("a lease was lost with one voter of three")
	}
	v.ok(n2.Cmd.Process.Kill())
	_ = n2.Cmd.Wait()
	kept.exits(hold.ExitLost, `lock "kept" was lost`)
	kept.gone()
	v.lock(n1, "two down", "--wait", "100ms", "--", "true").exits(hold.ExitOurs, `voters needed for a majority`)
	var r *client.Refusal
	err := n1.Client.Do(v.ctx, "POST", "/v1/locks/x", nil, []byte(`{"wait":"100ms"}`), nil, nil)
	if !errors.As(err, &r) || r.Status != 503 || r.Code != "no-majority" || r.Majority == nil || r.Needed != 2 {
		v.Errorf("without a majority: %v", err)
	}
}

// TestVotersAreReloaded replaces the list of voters without a restart.
func TestVotersAreReloaded(t *testing.T) {
	t.Parallel()
	self, err := exec.LookPath("sentinel-peer")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	addrs, err := local.FreeAddrs(2)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file, logFile := filepath.Join(dir, "n1.yaml"), filepath.Join(dir, "log")
	config := func(more string) {
		t.Helper()
		if err := os.WriteFile(file, []byte("cluster: c\nname: n1\n"+more), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var cmd *exec.Cmd
	start := func() {
		t.Helper()
		log, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		cmd = exec.Command(self, "agent", "--config", file, "--bind", addrs[0], "--http", addrs[1], "--state-dir", filepath.Join(dir, "state"))
		cmd.Stderr = log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	}
	logs := func(what string) {
		t.Helper()
		if err := local.Until(ctx, what, func() error {
			log, err := os.ReadFile(logFile)
			if err == nil && !regexp.MustCompile(what).Match(log) {
				err = fmt.Errorf("the log is\n%s", log)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	reload := func(more, want string) {
		t.Helper()
		config(more)
		if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		logs(want)
	}
	config("voters: [n1]\n")
	start()
	logs(`msg=serving`)
	reload("voters: [n1, n2, n3]\nvoters-epoch: 2\n", `not reloaded: the old list stays.*2 names change \(\+n2, \+n3\)`)
	reload("voters: [n1, n2]\n", `not reloaded.*epoch 1 has the voters`)
	reload("voters: [\n", `not reloaded.*n1\.yaml`)
	reload("voters: [n1, n2]\nvoters-epoch: many\n", `not reloaded.*voters-epoch`)
	reload("voters: [n1, n2]\nvoters-epoch: 2\ndrain: 3s\n", `voters reloaded.*n1 n2.*epoch=2`)
	logs(`a restart is needed.*drain`)
	reload("voters: [n1, n2, n3]\nvoters-epoch: 3\n", `epoch 2 has been adopted by 1 of its 2 voters`)

	// A daemon knows the list that it adopted after a restart too.
	state := filepath.Join(dir, "state", "locks.state")
	if err := local.Until(ctx, state, func() error {
		b, err := os.ReadFile(state)
		if err == nil && !bytes.Contains(b, []byte("epoch "+strconv.Itoa(2))) {
			err = fmt.Errorf("it holds %q", b)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	config("voters: [n1]\n")
	start()
	logs(`this peer has adopted epoch 2 already`)
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != api.ExitUsage {
		t.Errorf("an old list: %v", err)
	}
}

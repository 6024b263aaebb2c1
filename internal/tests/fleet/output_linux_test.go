package fleet

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unicode"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/sentinel-peer/sentinel-peer/internal/cli"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/local"
)

// silent is a command that prints nothing of its own.
const silent = ""

// printing has a call of each command that prints. A new command must be added here.
var printing = []struct{ command, line string }{
	{"agent", silent}, // prints with --dev only, and goes on whatever becomes of it
	{"put", "put made 1 -o json"}, {"get", "get k"}, {"keys", "keys"}, {"delete", silent}, {"expire", "expire k 1h"}, {"persist", "persist k"}, {"conflicts", "conflicts"},
	{"watch", "watch --snapshot"}, {"set", silent}, {"counter", "counter add n 1"},
	{"task list", "task list"}, {"task set", silent}, {"task progress", silent}, {"task delete", silent}, {"task get", "task get 1"},
	{"worker list", "worker list"}, {"worker get", "worker get n1"}, {"worker status", silent}, {"worker capacity", silent},
	{"worker heartbeat", silent}, {"worker remove", silent},
	{"queue put", "queue put q 1"}, {"queue depth", "queue depth q"}, {"queue peek", "queue peek q"}, {"queue claim", "queue claim q"},
	{"queue get", "queue get q a"}, {"queue work", "queue work w --count 1 -- true"}, {"queue complete", silent}, {"queue fail", silent},
	{"queue extend", silent}, {"queue pause", silent}, {"queue resume", silent}, {"queue drain", silent},
	{"queue requeue", "queue requeue q"}, {"queue purge", "queue purge q"},
	{"lock", silent}, {"locks", "locks"}, {"status", "status"}, {"top", "top --count 1"}, {"members", "members"},
	{"forget", silent}, {"stats", "stats"}, {"doctor", "doctor"}, {"config show", "config show"}, {"mcp", "mcp"},
	{"keygen", "keygen"}, {"version", "version"}, {"completion", "completion bash"}, {"man", silent},
	{"sim", "sim --peers 2 --duration 1s"}, {"demo", "demo"}, {"sentinel-peer", "--version"},
}

// The exit code of a command tells that its output went to a full disk.
func TestNoCommandSucceedsWhenItsOutputIsLost(t *testing.T) {
	if testing.Short() {
		t.Skip("starts daemons")
	}
	t.Parallel()
	p := newDaemon(t)
	for _, line := range []string{"put k 1", "worker heartbeat n1", "task set 1 status=running", "queue put q 1 --id a", "queue put w 1"} {
		if said, err := p.command(line).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", line, err, said)
		}
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	known := map[string]bool{}
	for _, c := range printing {
		known[c.command] = true
		if c.line == silent {
			continue
		}
		for _, line := range []string{c.line, c.command + " --help"} {
			cmd := p.command(strings.TrimPrefix(line, "sentinel-peer "))
			cmd.Stdin = strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"ping"}` + "\n")
			var said bytes.Buffer
			cmd.Stdout, cmd.Stderr = full, &said
			if err := cmd.Run(); err == nil || !strings.Contains(said.String(), "no space left") {
				t.Errorf("%s: %v: %s", line, err, &said)
			}
		}
	}
	var look func(cmd *cobra.Command)
	look = func(cmd *cobra.Command) {
		if name := strings.TrimPrefix(cmd.CommandPath(), "sentinel-peer "); !cmd.HasSubCommands() && !cmd.Hidden && !known[name] {
			t.Errorf("%s: how does it print?", name)
		}
		for _, sub := range cmd.Commands() {
			look(sub)
		}
	}
	look(cli.NewRoot(""))
}

// single is one daemon.
type single struct {
	*local.Process
	self string
}

// newDaemon starts a daemon that ends with the test.
func newDaemon(t *testing.T, flags ...string) single {
	t.Helper()
	self, err := exec.LookPath("sentinel-peer")
	if err != nil {
		t.Fatal(err)
	}
	addrs, err := local.FreeAddrs(2)
	if err != nil {
		t.Fatal(err)
	}
	d := local.Fleet{Self: self, Dir: t.TempDir(), Batch: "0", Flags: flags}
	d.Peers = []*local.Process{{Name: "n1", Gossip: addrs[0], Client: client.Client{Addr: addrs[1], Timeout: local.Patience}}}
	t.Cleanup(d.Stop)
	if err := d.Seal(); err != nil {
		t.Fatal(err)
	}
	if err := d.Launch(d.Peers[0]); err != nil {
		t.Fatal(err)
	}
	if err := d.Together(t.Context(), d.Peers); err != nil {
		log, _ := os.ReadFile(filepath.Join(d.Dir, "n1.log"))
		t.Fatalf("%v\n%s", err, log)
	}
	return single{d.Peers[0], self}
}

// command is a command line for the daemon.
func (s single) command(line string) *exec.Cmd {
	cmd := exec.Command(s.self, strings.Fields(line)...)
	cmd.Env = append(os.Environ(), "SENTINEL_HTTP="+s.Client.Addr, "SENTINEL_CLUSTER=demo", "SENTINEL_BIND="+s.Gossip)
	return cmd
}

// A terminal shows the names, keys and values of others. No control sequence in them has an
// effect.
func TestNoCommandLetsOthersMoveTheCursor(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a daemon")
	}
	t.Parallel()
	const name, evil = "x\u202ey", "\x1b]0;x\a\u009b2J\u202e"
	p := newDaemon(t)
	for _, args := range [][]string{
		{"put", name, evil}, {"put", "k", evil}, {"task", "set", name, "status=" + evil}, {"task", "set", "1", "status=" + evil},
		{"queue", "put", "q", evil, "--id", "a"}, {"queue", "put", "w", "1", "--id", name}, {"worker", "status", name, "status=" + evil}, {"worker", "status", "n1", "status=" + evil},
	} {
		cmd := p.command("")
		cmd.Args = append(cmd.Args, args...)
		if said, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%q: %v: %s", args, err, said)
		}
	}
	for _, c := range printing {
		if c.line == silent || strings.HasPrefix(c.command, "demo") {
			continue
		}
		for _, form := range []string{"", " -o json"} {
			line := c.line + form
			if c.command == "queue work" {
				line = "queue work w --idle 1ms" + form + " -- true"
			}
			shown := onTerminal(t, p.command(strings.TrimPrefix(line, "sentinel-peer ")))
			if at := strings.IndexFunc(shown, func(r rune) bool { return !unicode.IsGraphic(r) && r != '\r' && r != '\n' }); at >= 0 {
				t.Errorf("%s: %q", line, shown[at:])
			}
		}
	}
	for _, line := range []string{"get k", "keys", "task list", "worker list"} {
		if shown := onTerminal(t, p.command(line)); !strings.Contains(shown, `\u202e`) {
			t.Errorf("%s shows nothing of it: %q", line, shown)
		}
	}
	if raw, err := p.command("get k").Output(); err != nil || !strings.Contains(string(raw), "\u202e") {
		t.Errorf("a pipe gets %q, %v", raw, err)
	}
}

// onTerminal runs a command whose standard output and error are a terminal, and returns its
// output.
func onTerminal(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("SKIP: no terminals here: ", err)
	}
	defer screen.Close()
	number, err := unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(cmd.Environ(), "NO_COLOR=1")
	cmd.Stdout, cmd.Stderr = terminal, terminal
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	terminal.Close()
	defer cmd.Wait()
	var shown strings.Builder
	for part := make([]byte, 4096); ; {
		n, err := screen.Read(part)
		if err != nil { // nobody has the terminal any more
			return shown.String()
		}
		shown.Write(part[:n])
		if strings.Contains(shown.String(), "changes follow") || strings.Contains(shown.String(), `"synced"`) {
			_ = cmd.Process.Signal(os.Interrupt) // the end of what watch shows
		}
	}
}

package fleet

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/cli"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/local"
)

// TestMain makes this test binary the daemon when it is started under that name. Tests of
// real processes mostly wait, so more of them run in parallel than there are processors.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", strconv.Itoa(max(4, runtime.GOMAXPROCS(0)))); err != nil {
		panic(err)
	}
	testscript.Main(suite{m}, map[string]func(){"sentinel-peer": func() { os.Exit(cli.Main("", os.Args[1:])) }})
}

// suite is the tests, as opposed to the daemons that this binary is too.
type suite struct{ *testing.M }

// Run runs the tests. A suite that nohup started ignores SIGHUP, and so would the commands that it
// starts. A signal that a process catches has its default effect in the children.
func (s suite) Run() int {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	return s.M.Run()
}

// TestScripts runs command lines as users type them. Beside the usual commands,
// scripts have:
//
//	exits CODE ARGS...   run sentinel-peer and expect this exit code
//	ready HOST:PORT      wait until the daemon there is ready
//	exists-soon FILE     wait until it does
//	says-soon FILE TEXT  wait until it holds this text
//	gone-soon NAME       wait until the peer of that name is not alive
//	shows REGEXP ARGS... run sentinel-peer until it prints that, or no more with !
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			addrs, err := local.FreeAddrs(4)
			if err != nil {
				return err
			}
			e.Setenv("SENTINEL_STATE_DIR", "none")
			e.Setenv("GOSSIP1", addrs[0])
			e.Setenv("HTTP1", addrs[1])
			e.Setenv("GOSSIP2", addrs[2])
			e.Setenv("HTTP2", addrs[3])
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": func(ts *testscript.TestScript, neg bool, args []string) {
				want, err := strconv.Atoi(args[0])
				if neg || err != nil {
					ts.Fatalf("usage: exits CODE ARGS...")
				}
				got := 0
				if err := ts.Exec("sentinel-peer", args[1:]...); err != nil {
					var exit *exec.ExitError
					if !errors.As(err, &exit) {
						ts.Fatalf("%v", err)
					}
					got = exit.ExitCode()
				}
				if got != want {
					ts.Fatalf("exit code %d, want %d", got, want)
				}
			},
			"shows": func(ts *testscript.TestScript, neg bool, args []string) {
				want := regexp.MustCompile("(?m)" + args[0])
				for end := time.Now().Add(local.Patience); ; time.Sleep(50 * time.Millisecond) {
					err := ts.Exec("sentinel-peer", args[1:]...)
					out := ts.ReadFile("stdout")
					if err == nil && want.MatchString(out) != neg {
						return
					}
					if time.Now().After(end) {
						ts.Fatalf("%v; it goes on to print\n%s", err, out)
					}
				}
			},
			"exists-soon": func(ts *testscript.TestScript, _ bool, args []string) {
				ctx, cancel := context.WithTimeout(context.Background(), local.Patience)
				defer cancel()
				ts.Check(local.Until(ctx, args[0], func() error { _, err := os.Stat(ts.MkAbs(args[0])); return err }))
			},
			"says-soon": func(ts *testscript.TestScript, _ bool, args []string) {
				ctx, cancel := context.WithTimeout(context.Background(), local.Patience)
				defer cancel()
				ts.Check(local.Until(ctx, args[0], func() error {
					text, err := os.ReadFile(ts.MkAbs(args[0]))
					if err == nil && !bytes.Contains(text, []byte(args[1])) {
						err = fmt.Errorf("it holds no %s, but %s", args[1], text)
					}
					return err
				}))
			},
			"gone-soon": func(ts *testscript.TestScript, _ bool, args []string) {
				ctx, cancel := context.WithTimeout(context.Background(), local.Patience)
				defer cancel()
				c := client.Client{Addr: ts.Getenv("SENTINEL_HTTP"), Timeout: local.Patience}
				ts.Check(local.Until(ctx, args[0], func() error {
					list, err := c.Members(ctx)
					if slices.ContainsFunc(list, func(m api.Member) bool { return m.Name == args[0] && m.State == "alive" }) {
						err = errors.New("it is alive")
					}
					return err
				}))
			},
			"ready": func(ts *testscript.TestScript, _ bool, args []string) {
				ctx, cancel := context.WithTimeout(context.Background(), local.Patience)
				defer cancel()
				c := client.Client{Addr: args[0], Timeout: local.Patience}
				ts.Check(local.Until(ctx, args[0], func() error { return c.Do(ctx, "GET", "/readyz", nil, nil, nil, nil) }))
			},
		},
	})
}

// TestProcessesLoseNothing tests that acknowledged writes survive a kill of other daemons,
// and an orderly stop of the writer.
func TestProcessesLoseNothing(t *testing.T) {
	t.Parallel()
	self, err := exec.LookPath("sentinel-peer")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	d := local.Fleet{Self: self, Dir: t.TempDir(), Batch: "2s"}
	check := func(err error) {
		t.Helper()
		if err != nil {
			for _, p := range d.Peers {
				log, _ := os.ReadFile(p.Log.Name())
				t.Logf("%s:\n%s", p.Name, log)
			}
			t.Fatal(err)
		}
	}
	t.Cleanup(d.Stop)
	check(d.Seal())
	check(d.Start(ctx))
	n1, n2, n3 := d.Peers[0], d.Peers[1], d.Peers[2]
	write := func(p *local.Process, from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			check(p.Put(ctx, fmt.Sprintf("%s/%d", p.Name, i), strconv.Itoa(i)))
		}
	}
	for _, p := range d.Peers {
		write(p, 0, 100)
	}
	check(d.Agree(ctx, d.Peers))

	// One daemon is killed. The others go on, and it gets all writes again after its start.
	check(n2.Cmd.Process.Kill())
	_ = n2.Cmd.Wait()
	write(n1, 100, 200)
	write(n3, 100, 200)
	check(d.Launch(n2))
	check(d.Together(ctx, d.Peers))
	write(n2, 100, 200)
	check(d.Agree(ctx, d.Peers))
	if log, _ := os.ReadFile(n2.Log.Name()); bytes.Contains(log, []byte("clone")) {
		t.Errorf("restarted at its address, n2 takes itself for a clone:\n%s", log)
	}

	// A daemon stops in order right after writes that wait for the batch interval.
	write(n3, 200, 300)
	check(n3.Cmd.Process.Signal(os.Interrupt))
	if err := n3.Cmd.Wait(); err != nil {
		t.Errorf("a peaceful stop: %v", err)
	}
	check(d.Agree(ctx, []*local.Process{n1, n2}))
	for _, p := range []*local.Process{n1, n2} {
		var keys struct{ Count int }
		check(p.Client.Do(ctx, "GET", "/v1/keys", url.Values{"count": {"true"}}, nil, nil, &keys))
		if keys.Count != 700 {
			t.Errorf("%s holds %d keys, want 700", p.Name, keys.Count)
		}
	}
}

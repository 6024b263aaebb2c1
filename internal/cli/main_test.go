package cli

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

// TestMain makes this test binary the daemon when it is started as one. Tests of real
// processes mostly wait: more go side by side than there are processors.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", strconv.Itoa(max(4, runtime.GOMAXPROCS(0)))); err != nil {
		panic(err)
	}
	testscript.Main(m, map[string]func(){"sentinel-peer": func() { os.Exit(Main("", os.Args[1:])) }})
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
			addrs, err := freeAddrs(4)
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
				for end := time.Now().Add(demoPatience); ; time.Sleep(50 * time.Millisecond) {
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
				ctx, cancel := context.WithTimeout(context.Background(), demoPatience)
				defer cancel()
				ts.Check(until(ctx, args[0], func() error { _, err := os.Stat(ts.MkAbs(args[0])); return err }))
			},
			"says-soon": func(ts *testscript.TestScript, _ bool, args []string) {
				ctx, cancel := context.WithTimeout(context.Background(), demoPatience)
				defer cancel()
				ts.Check(until(ctx, args[0], func() error {
					text, err := os.ReadFile(ts.MkAbs(args[0]))
					if err == nil && !bytes.Contains(text, []byte(args[1])) {
						err = fmt.Errorf("it holds no %s, but %s", args[1], text)
					}
					return err
				}))
			},
			"gone-soon": func(ts *testscript.TestScript, _ bool, args []string) {
				ctx, cancel := context.WithTimeout(context.Background(), demoPatience)
				defer cancel()
				c := client{addr: ts.Getenv("SENTINEL_HTTP"), timeout: demoPatience}
				ts.Check(until(ctx, args[0], func() error {
					list, err := c.peers(ctx)
					if slices.ContainsFunc(list, func(m api.Member) bool { return m.Name == args[0] && m.State == "alive" }) {
						err = errors.New("it is alive")
					}
					return err
				}))
			},
			"ready": func(ts *testscript.TestScript, _ bool, args []string) {
				ctx, cancel := context.WithTimeout(context.Background(), demoPatience)
				defer cancel()
				c := client{addr: args[0], timeout: demoPatience}
				ts.Check(until(ctx, args[0], func() error { return c.do(ctx, "GET", "/readyz", nil, nil, nil, nil) }))
			},
		},
	})
}

// TestProcessesLoseNothing is the promise to whoever runs the daemon: what was
// acknowledged survives a kill of others, and a peaceful stop of the writer.
func TestProcessesLoseNothing(t *testing.T) {
	t.Parallel()
	self, err := exec.LookPath("sentinel-peer")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	d := demo{self: self, dir: t.TempDir(), began: time.Now(), out: t.Output(), batch: "2s"}
	check := func(err error) {
		t.Helper()
		if err != nil {
			for _, p := range d.peers {
				log, _ := os.ReadFile(p.log.Name())
				t.Logf("%s:\n%s", p.name, log)
			}
			t.Fatal(err)
		}
	}
	t.Cleanup(d.stop)
	check(d.seal())
	check(d.start(ctx))
	n1, n2, n3 := d.peers[0], d.peers[1], d.peers[2]
	write := func(p *process, from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			check(p.put(ctx, fmt.Sprintf("%s/%d", p.name, i), strconv.Itoa(i)))
		}
	}
	for _, p := range d.peers {
		write(p, 0, 100)
	}
	check(d.agree(ctx, d.peers))

	// A kill: the others go on, and it fills up again.
	check(n2.cmd.Process.Kill())
	_ = n2.cmd.Wait()
	write(n1, 100, 200)
	write(n3, 100, 200)
	check(d.launch(n2))
	check(d.together(ctx, d.peers))
	write(n2, 100, 200)
	check(d.agree(ctx, d.peers))
	if log, _ := os.ReadFile(n2.log.Name()); bytes.Contains(log, []byte("clone")) {
		t.Errorf("restarted at its address, n2 takes itself for a clone:\n%s", log)
	}

	// A peaceful stop right after writes that wait for company.
	write(n3, 200, 300)
	check(n3.cmd.Process.Signal(os.Interrupt))
	if err := n3.cmd.Wait(); err != nil {
		t.Errorf("a peaceful stop: %v", err)
	}
	check(d.agree(ctx, []*process{n1, n2}))
	for _, p := range []*process{n1, n2} {
		var keys struct{ Count int }
		check(p.client.do(ctx, "GET", "/v1/keys", nil, nil, nil, &keys))
		if keys.Count != 700 {
			t.Errorf("%s holds %d keys, want 700", p.name, keys.Count)
		}
	}
}

package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/gossip/transport"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/daemon"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/local"
	"github.com/sentinel-peer/sentinel-peer/internal/verdict"
)

// keyed writes a key file.
func (f *fleet) keyed(t *testing.T, lines ...string) {
	t.Helper()
	f.check(t, os.WriteFile(f.KeyFile(), []byte(strings.Join(lines, "\n")+"\n"), 0o600))
}

// reload has a daemon read its key file, and waits until its metric says whether it took
// the keys.
func (f *fleet) reload(t *testing.T, ctx context.Context, p *local.Process, taken int) {
	t.Helper()
	f.check(t, p.Cmd.Process.Signal(syscall.SIGHUP))
	want := fmt.Sprintf(`sentinel_reload_ok{what="keys"} %d`, taken)
	f.check(t, local.Until(ctx, want, func() error {
		res, err := http.Get("http://" + p.Client.Addr + "/metrics")
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if text, err := io.ReadAll(res.Body); err != nil || !strings.Contains(string(text), want) {
			return errors.Join(err, errors.New("not yet"))
		}
		return nil
	}))
}

// opens reports whether a peer accepts a connection that is sealed with a key.
func (f *fleet) opens(t *testing.T, ctx context.Context, p *local.Process, key string) bool {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key")
	f.check(t, os.WriteFile(file, []byte(key), 0o600))
	keys, err := daemon.ReadKeys(t.Context(), file)
	f.check(t, err)
	return transport.Probe(ctx, p.Gossip, "netns", keys) == nil
}

func TestABadKeyFileKeepsTheOldKeys(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: starts a daemon")
	}
	f := newLoopbackFleet(t)
	f.Peers = f.Peers[:1]
	ctx, p := f.patience(t), f.Peers[0]
	first, second := daemon.NewKey(), daemon.NewKey()
	f.keyed(t, first)
	f.check(t, f.launch(p))
	f.check(t, f.Together(ctx, f.Peers))
	for _, bad := range [][]string{{"no key"}, {""}, {first, first}} {
		f.keyed(t, second, first)
		f.reload(t, ctx, p, 1)
		if !f.opens(t, ctx, p, first) || !f.opens(t, ctx, p, second) {
			t.Error("a key in the file does not open")
		}
		f.keyed(t, bad...)
		f.reload(t, ctx, p, 0)
		if !f.opens(t, ctx, p, first) || !f.opens(t, ctx, p, second) {
			t.Errorf("after %q the old keys are gone", bad)
		}
	}
	log, err := os.ReadFile(filepath.Join(f.Dir, p.Name+".log"))
	f.check(t, err)
	contains(t, string(log), "keys not reloaded: the old ones stay", ":1: want 16, 24 or 32 bytes", "holds no key", "is there twice")
	f.keyed(t, second)
	f.reload(t, ctx, p, 1)
	if f.opens(t, ctx, p, first) || !f.opens(t, ctx, p, second) {
		t.Error("a key that the file has no more still opens, or the other does not")
	}
}

// keyAdvice waits until the status of a peer has exactly these findings about keys.
func (f *fleet) keyAdvice(t *testing.T, ctx context.Context, p *local.Process, wants ...string) {
	t.Helper()
	f.check(t, local.Until(ctx, fmt.Sprintf("the status of %s says %q", p.Name, wants), func() error {
		var v verdict.Verdict
		if err := p.Client.Do(ctx, "GET", "/v1/verdict", nil, nil, nil, &v); err != nil {
			return err
		}
		var said []string
		for _, found := range v.Findings {
			if found.Check == "keys" {
				said = append(said, found.What)
			}
		}
		if !slices.Equal(said, wants) {
			return fmt.Errorf("it says %q", said)
		}
		return nil
	}))
}

// turn has daemons read the key file, and waits until each has the keys with these ids.
func (f *fleet) turn(t *testing.T, ctx context.Context, peers []*local.Process, ids ...string) {
	t.Helper()
	for _, p := range peers {
		f.check(t, p.Cmd.Process.Signal(syscall.SIGHUP))
		f.check(t, local.Until(ctx, fmt.Sprintf("%s has the keys %q", p.Name, ids), func() error {
			list, err := p.Client.Members(ctx)
			if err == nil && !slices.ContainsFunc(list, func(m api.Member) bool { return m.Self && slices.Equal(m.Keys, ids) }) {
				err = fmt.Errorf("it says %+v", list)
			}
			return err
		}))
	}
}

// A cluster of five changes its key in three steps, under writes. One peer is down all the
// time, and one is paused during the first step. No write fails, and the status names the
// peers that are behind.
func TestTheKeyOfAClusterChangesUnderWrites(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: takes half a minute")
	}
	t.Parallel()
	f := newLoopbackFleet(t)
	ctx := f.patience(t)
	older, newer := daemon.NewKey(), daemon.NewKey()
	id := func(key string) string {
		f.keyed(t, key)
		return f.ids(t)[0]
	}
	newID, oldID := id(newer), id(older) // the file has the old one now
	for _, p := range f.Peers {
		f.check(t, f.launch(p))
	}
	f.check(t, f.Together(ctx, f.Peers))
	f.write(t, ctx, "before", f.Peers...)
	f.converged(t, ctx, "before")
	running, stopped, down := f.Peers[:4], f.Peers[3], f.Peers[4]
	f.check(t, down.Cmd.Process.Kill())
	_ = down.Cmd.Wait() // it was killed, and says so
	done := f.writeOn(t, ctx, running[:3])

	f.check(t, stopped.Cmd.Process.Signal(syscall.SIGSTOP))
	f.keyed(t, older, newer)
	f.turn(t, ctx, running[:3], oldID, newID)
	for _, p := range running[:3] {
		f.keyAdvice(t, ctx, p, "key "+newID+" is not at n4 (down), n5 (down)")
	}
	f.check(t, stopped.Cmd.Process.Signal(syscall.SIGCONT))
	f.keyAdvice(t, ctx, stopped, "key "+newID+" is not at n4, n5 (down)")
	f.turn(t, ctx, running[3:], oldID, newID)
	for _, p := range running {
		f.keyAdvice(t, ctx, p, "key "+newID+" is not at n5 (down)")
	}

	f.keyed(t, newer, older)
	f.turn(t, ctx, running[:1], newID, oldID)
	for _, p := range running {
		f.keyAdvice(t, ctx, p, "key "+newID+" is not at n5 (down)", "not all peers seal with the same key")
	}
	f.turn(t, ctx, running[1:], newID, oldID)
	for _, p := range running {
		f.keyAdvice(t, ctx, p, "key "+newID+" is not at n5 (down)")
	}

	f.keyed(t, newer)
	f.turn(t, ctx, running[:1], newID)
	f.keyAdvice(t, ctx, running[0], "key "+newID+" is not at n5 (down)", "key "+oldID+" is not at n1")
	f.turn(t, ctx, running[1:], newID)
	for _, p := range running {
		if f.opens(t, ctx, p, older) {
			t.Errorf("the old key opens %s", p.Name)
		}
	}
	f.check(t, f.launch(down)) // with the file as it is now
	f.check(t, f.Together(ctx, f.Peers))
	for _, p := range f.Peers {
		f.keyAdvice(t, ctx, p)
	}
	done()
	f.converged(t, ctx, "under the new key")
}

// writeOn has peers write again and again until done is called. The call fails if a write
// has failed.
func (f *fleet) writeOn(t *testing.T, ctx context.Context, peers []*local.Process) (done func()) {
	writing, enough := context.WithCancel(ctx)
	var writers sync.WaitGroup
	var failed, made atomic.Int64
	for _, p := range peers {
		writers.Go(func() {
			for i := 0; writing.Err() == nil; i++ {
				key := fmt.Sprintf("on/%s/%d", p.Name, i)
				if p.Put(ctx, key, fmt.Sprintf("%q", p.Name)) != nil {
					failed.Add(1)
				} else {
					made.Add(1)
					f.acknowledged(key, p.Name)
				}
				pause(writing, 20*time.Millisecond)
			}
		})
	}
	t.Cleanup(func() { enough(); writers.Wait() })
	return func() {
		enough()
		writers.Wait()
		if t.Logf("%d writes were acknowledged", made.Load()); failed.Load() > 0 {
			t.Errorf("%d writes failed", failed.Load())
		}
	}
}

// A peer is cut off while the others change the key in three steps. When it is back, the
// others refuse it until it has read the file too. None of its writes is lost.
func TestWhoMissedTheChangeOfTheKeyComesBack(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: starts daemons")
	}
	f := newFleetAt(t, "10.77.0.1", "10.77.0.2", "10.77.0.3")
	ctx := f.patience(t)
	older, newer := daemon.NewKey(), daemon.NewKey()
	f.keyed(t, older)
	for _, p := range f.Peers {
		f.check(t, f.launch(p))
	}
	f.check(t, f.Together(ctx, f.Peers))
	rest, away := f.Peers[:2], f.Peers[2]
	f.check(t, errors.Join(f.net.cut(names(rest), []string{"n3"}), f.net.cut([]string{"n3"}, names(rest))))
	done := f.writeOn(t, ctx, f.Peers)
	var ids []string
	for _, lines := range [][]string{{older, newer}, {newer, older}, {newer}} {
		f.keyed(t, lines...)
		ids = f.ids(t)
		f.turn(t, ctx, rest, ids...)
	}
	f.check(t, f.net.heal())
	f.check(t, local.Until(ctx, "n3 is turned away", func() error {
		for _, p := range rest {
			var stats api.Stats
			if err := p.Client.Do(ctx, "GET", "/v1/stats", nil, nil, nil, &stats); err != nil {
				return err
			}
			if stats.Transport.Refused["wrong_key"] > 0 {
				return nil
			}
		}
		return errors.New("nobody refuses it")
	}))
	f.turn(t, ctx, []*local.Process{away}, ids...)
	f.check(t, f.Together(ctx, f.Peers))
	done()
	f.converged(t, ctx, "with all under the new key")
	for _, p := range f.Peers {
		f.keyAdvice(t, ctx, p)
	}
}

// ids returns the ids of the keys in the file.
func (f *fleet) ids(t *testing.T) []string {
	t.Helper()
	keys, err := daemon.ReadKeys(t.Context(), f.KeyFile())
	f.check(t, err)
	ids, err := transport.KeyIDs("netns", keys)
	f.check(t, err)
	return ids
}

func contains(t *testing.T, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
}

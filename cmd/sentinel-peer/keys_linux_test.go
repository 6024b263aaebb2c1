package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/gossip/transport"
)

// keyed writes a key file.
func (f *fleet) keyed(t *testing.T, lines ...string) {
	t.Helper()
	f.check(t, os.WriteFile(f.keyFile(), []byte(strings.Join(lines, "\n")+"\n"), 0o600))
}

// reload has a daemon read its key file, and waits until its metric says what became of it.
func (f *fleet) reload(t *testing.T, ctx context.Context, p *process, taken int) {
	t.Helper()
	f.check(t, p.cmd.Process.Signal(syscall.SIGHUP))
	want := fmt.Sprintf(`sentinel_reload_ok{what="keys"} %d`, taken)
	f.check(t, until(ctx, want, func() error {
		res, err := http.Get("http://" + p.client.addr + "/metrics")
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

// opens says whether a key opens the door of a peer.
func (f *fleet) opens(t *testing.T, ctx context.Context, p *process, key string) bool {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key")
	f.check(t, os.WriteFile(file, []byte(key), 0o600))
	keys, err := readKeys(file)
	f.check(t, err)
	return transport.Probe(ctx, p.gossip, "netns", keys) == nil
}

func TestABadKeyFileKeepsTheOldKeys(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: starts a daemon")
	}
	f := newLoopbackFleet(t)
	f.peers = f.peers[:1]
	ctx, p := f.patience(t), f.peers[0]
	first, second := newKey(), newKey()
	f.keyed(t, first)
	f.check(t, f.launch(p))
	f.check(t, f.together(ctx, f.peers))
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
	log, err := os.ReadFile(filepath.Join(f.dir, p.name+".log"))
	f.check(t, err)
	holds(t, string(log), "keys not reloaded: the old stay", ":1: want 16, 24 or 32 bytes", "holds no key", "is there twice")
	f.keyed(t, second)
	f.reload(t, ctx, p, 1)
	if f.opens(t, ctx, p, first) || !f.opens(t, ctx, p, second) {
		t.Error("a key that the file has no more still opens, or the other does not")
	}
}

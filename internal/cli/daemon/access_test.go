package daemon

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestOnlyTokensAndTLSOpenTheDaemon(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte("ci 0123456789abcdefghij read:*\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	f := func(e endpoint, open bool, complaint string) access {
		t.Helper()
		a, err := e.open(t.Context(), logger)
		if a.open != open || (err == nil) != (complaint == "") || err != nil && !strings.Contains(err.Error(), complaint) {
			t.Errorf("%+v: open %t, %v; want %t, %q", e, a.open, err, open, complaint)
		}
		return a
	}
	f(endpoint{}, false, "")
	f(endpoint{plain: true}, false, "")
	f(endpoint{certFile: "c"}, false, "go together")
	f(endpoint{keyFile: "k"}, false, "go together")
	f(endpoint{certFile: file, keyFile: file}, false, "certificate "+file)
	f(endpoint{tokenFile: file + "x"}, false, "no such file")
	f(endpoint{rate: -1}, false, "--http-rate")
	f(endpoint{tokenFile: file}, false, "")
	a := f(endpoint{tokenFile: file, plain: true}, true, "")
	for _, content := range []string{"ci short read:*", "ops 0123456789abcdefghij admin"} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if !a.reload(t.Context(), (&reloader{log: logger, done: func(string, error) {}}).tell) {
			t.Error("there is nothing to reload")
		}
	}
	for _, want := range []string{"tokens not reloaded: the old ones stay in force", ":1: the token: want 20", "tokens reloaded"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q: %s", want, &log)
		}
	}
}

func TestTheNameOfTheAddressIsAnsweredTo(t *testing.T) {
	e := endpoint{hosts: []string{"peer.example"}}
	for addr, want := range map[string][]string{"": {"peer.example"}, ":7700": {"peer.example"}, "db1.lan:7700": {"peer.example", "db1.lan"}} {
		if got := e.names(addr); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", addr, got, want)
		}
	}
}

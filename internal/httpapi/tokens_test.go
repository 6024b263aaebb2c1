package httpapi

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

const secret = "0123456789abcdefghij"

func TestATokenFileIsReadLineByLine(t *testing.T) {
	list, err := parseTokens(strings.NewReader(fmt.Sprintf(`
# who may call
ci   %s   read:tasks/ write:memory/ci/ lock:deploy
	ops	sha256:%x	write:* admin
`, secret, sha256.Sum256([]byte("another token of ops")))), "tokens")
	if err != nil || len(list) != 2 {
		t.Fatal(list, err)
	}
	ci, ops := list[0].grant, list[1].grant
	if ci.Name != "ci" || !ci.MayRead("tasks/1") || !ci.Allows(api.Right{Verb: api.Write, Key: "memory/ci/x"}) || !ci.MayLock("deploy") || ci.Allows(api.Right{Verb: api.Write, Key: "tasks/1"}) || ci.Allows(api.Right{Verb: api.Admin}) {
		t.Errorf("ci: %+v", ci)
	}
	if ops.Name != "ops" || !ops.Allows(api.Right{Verb: api.Write, Key: "any"}) || ops.MayLock("any") || !ops.Allows(api.Right{Verb: api.Admin}) {
		t.Errorf("ops: %+v", ops)
	}
}

func TestAMalformedTokenFileIsRefusedWithItsLine(t *testing.T) {
	f := func(want string, lines ...string) {
		t.Helper()
		_, err := parseTokens(strings.NewReader(strings.Join(lines, "\n")), "tokens")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", lines, err, want)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("the error shows the token: %v", err)
		}
	}
	f("names no token", "", "# nothing")
	f("tokens:2: want a name, a token", "# one", secret)
	f("tokens:1: want a name, a token", "ci "+secret)
	f("tokens:1: the token: want 20", "ci short read:*")
	f("tokens:1: the token: want 20", "ci "+secret+"ü read:*")
	f("tokens:1: the token: want 20", "ci "+strings.Repeat("x", maxToken+1)+" read:*")
	f("tokens:1: want 64 hex digits", "ci sha256:abcd read:*")
	f("tokens:1: want 64 hex digits", "ci sha256:"+strings.Repeat("g", 64)+" read:*")
	f("tokens:1: want 64 hex digits", "ci sha256:"+strings.Repeat("a", 66)+" read:*")
	for _, right := range []string{"read", "read:", "read:/", "read://", "read:/k", "admin:x", "root", "write:tasks/*", "Read:k", ":k"} {
		f(fmt.Sprintf("tokens:1: %q: ", right), "ci "+secret+" "+right)
	}
	f(`tokens:2: "ci" has the same name`, "ci "+secret+" read:*", "ci "+secret+"2 read:*")
	f(`tokens:2: "ci" has the same name or the same token`, "ci "+secret+" read:*", fmt.Sprintf("ops sha256:%x read:*", sha256.Sum256([]byte(secret))))
	f("token too long", "ci "+strings.Repeat("x", 1<<17)+" read:*")
	var many []string
	for i := range maxTokens + 1 {
		many = append(many, fmt.Sprintf("c%d %s%d read:*", i, secret, i))
	}
	f(fmt.Sprintf("over %d tokens", maxTokens), many...)
}

func TestAnExposedTokenFileIsAWarning(t *testing.T) {
	for mode, warned := range map[os.FileMode]bool{0o600: false, 0o640: false, 0o644: true} {
		file := filepath.Join(t.TempDir(), "tokens")
		if err := os.WriteFile(file, []byte("ci "+secret+" read:*"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		if _, err := LoadTokens(t.Context(), file, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(log.String(), "chmod 600") != warned {
			t.Errorf("%v: %s", mode, &log)
		}
	}
}

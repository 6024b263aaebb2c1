package cli

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/hold"
)

// A command line that cannot be meant is refused before a daemon is asked.
func TestWhatCannotBeMeantIsRefused(t *testing.T) {
	var asked atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer s.Close()
	t.Setenv("SENTINEL_HTTP", s.Listener.Addr().String())
	const latin1 = "caf\xe9"
	for _, c := range []struct {
		code int
		line []string
	}{
		{api.ExitUsage, []string{"put", "k", latin1}},
		{api.ExitUsage, []string{"put", latin1, "v"}},
		{api.ExitUsage, []string{"get", latin1}},
		{api.ExitUsage, []string{"members", latin1}},
		{api.ExitUsage, []string{"set", "add", "k", "good", latin1}},
		{api.ExitUsage, []string{"task", "set", "1", "status=" + latin1}},
		{api.ExitUsage, []string{"task", "progress", "1", "0.5", latin1}},
		{api.ExitUsage, []string{"queue", "put", "q", latin1}},
		{api.ExitUsage, []string{"queue", "put", "q", "1", "--id", latin1}},
		{api.ExitUsage, []string{"queue", "fail", "q", "i", latin1, "--lease", "l", "--token", "1"}},
		{api.ExitUsage, []string{"queue", "work", latin1, "--", "true"}},
		{hold.ExitOurs, []string{"lock", latin1, "--", "true"}},
		{api.ExitUsage, []string{"get", "k", "--timeout", "-1s"}},
		{api.ExitUsage, []string{"get", "k", "--timeout", "0"}},
		{api.ExitUsage, []string{"mcp", "--timeout", "-1s"}},
		{api.ExitUsage, []string{"put", "k", "v", "--ttl", "-1s"}},
		{api.ExitUsage, []string{"put", "k", "v", "--ttl", "99999999h"}},
		{api.ExitUsage, []string{"queue", "put", "q", "1", "--delay", "-1s"}},
		{api.ExitUsage, []string{"queue", "work", "q", "--grace", "-1s", "--", "true"}},
		{api.ExitUsage, []string{"queue", "work", "q", "--count", "-1", "--", "true"}},
		{hold.ExitOurs, []string{"lock", "k", "--wait", "-1s", "--", "true"}},
		{api.ExitUsage, []string{"get", "k", "--http", "127.0.0.1:99999"}},
	} {
		if code := run("", c.line); code != c.code || asked.Load() > 0 {
			t.Errorf("%q: exit code %d, want %d; the daemon was asked %d times", c.line, code, c.code, asked.Swap(0))
		}
	}
}

// get asks the daemon for a part in place of the whole.
func TestGetAsksForAPart(t *testing.T) {
	var asked string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.RawQuery
		_, _ = w.Write([]byte("1"))
	}))
	defer s.Close()
	t.Setenv("SENTINEL_HTTP", s.Listener.Addr().String())
	for flags, want := range map[string]string{
		"":              "",
		"--path=/a/b":   "path=%2Fa%2Fb",
		"--has=7":       "has=7",
		"--has=text":    "has=%22text%22",
		"--len":         "len=true",
		"--len --has=7": "has=7&len=true", // which the daemon refuses

		"--limit=10 --after=Bw --path=/a": "after=Bw&limit=10&path=%2Fa",
	} {
		if code := run("", append([]string{"get", "k"}, strings.Fields(flags)...)); code != 0 || asked != want {
			t.Errorf("get %s: exit code %d, asks %q; want %q", flags, code, asked, want)
		}
	}
}

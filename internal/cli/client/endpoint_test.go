package client

import (
	"encoding/pem"
	"errors"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/command"
)

func TestWhereADaemonIsCalled(t *testing.T) {
	for addr, want := range map[string]string{
		"db1:8000": "http://db1:8000", "localhost": "http://localhost:7700", "10.0.0.1": "http://10.0.0.1:7700",
		"::1": "http://[::1]:7700", "[::1]": "http://[::1]:7700", "[::1]:8000": "http://[::1]:8000",
		":8000": "http://127.0.0.1:8000", "0.0.0.0:8000": "http://127.0.0.1:8000", "[::]:8000": "http://127.0.0.1:8000",
		"https://db1/": "https://db1", "http://db1:1/sub": "http://db1:1/sub", "a:b:c": "http://a:b:c",
	} {
		if got := (&Client{Addr: addr}).Base(); got != want {
			t.Errorf("%q: %s, want %s", addr, got, want)
		}
	}
}

// A client that trusts the daemon's authority reaches it through TLS, and sends the token.
func TestTLSAndToken(t *testing.T) {
	seen := make(chan string, 1)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header.Get("Authorization") }))
	defer s.Close()
	s.Config.ErrorLog = log.New(t.Output(), "", 0)
	s.StartTLS()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(TokenVariable, "sesame\n")
	ask := func(c Client) error {
		c.Timeout = time.Minute
		if err := c.Prepare(t.Context()); err != nil {
			return err
		}
		return c.Do(t.Context(), "GET", "/readyz", nil, nil, nil, nil)
	}
	if err := ask(Client{Addr: s.URL + "/", CA: ca}); err != nil {
		t.Fatal(err)
	}
	if got := <-seen; got != "Bearer sesame" {
		t.Errorf("sent %q", got)
	}
	if err := ask(Client{Addr: s.URL}); err == nil || !strings.Contains(err.Error(), "--tls-ca") {
		t.Errorf("without the authority: %v", err)
	}
	var e *command.ExitError
	if err := ask(Client{Addr: s.Listener.Addr().String()}); !errors.Is(err, ErrSpeaksTLS) || !errors.As(err, &e) || e.Code != api.ExitUnreachable || !strings.Contains(err.Error(), "use --http "+s.URL+", with --tls-ca") {
		t.Errorf("without TLS on our side: %v", err)
	}
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	if err := ask(Client{Addr: strings.Replace(plain.URL, "http:", "https:", 1)}); err == nil || !strings.Contains(err.Error(), "does not speak TLS") {
		t.Errorf("without TLS: %v", err)
	}
}

func TestATokenGoesIntoThePlainOnLoopbackOnly(t *testing.T) {
	t.Setenv(TokenVariable, "sesame")
	for _, c := range []struct {
		addr         string
		plain, wrong bool
	}{
		{"127.0.0.1:7700", false, false}, {"localhost:1", false, false}, {"[::1]:1", false, false}, {"0.0.0.0:1", false, false},
		{"https://db1:1", false, false}, {"db1:1", false, true}, {"http://10.0.0.1:1", false, true}, {"db1:1", true, false},
	} {
		asked := Client{Addr: c.addr, PlainToken: c.plain}
		if err := asked.Prepare(t.Context()); (err != nil) != c.wrong || err != nil && !strings.Contains(err.Error(), "--plain-token") {
			t.Errorf("%+v: %v", c, err)
		}
	}
	t.Setenv(TokenVariable, "")
	if err := (&Client{Addr: "db1:1"}).Prepare(t.Context()); err != nil {
		t.Errorf("without a token: %v", err)
	}
}

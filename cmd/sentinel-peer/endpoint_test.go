package main

import (
	"encoding/pem"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A daemon behind TLS is reached by those who trust its authority, with the token.
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
	t.Setenv(tokenVariable, "sesame\n")
	ask := func(c client) error {
		c.timeout = time.Minute
		if err := c.prepare(); err != nil {
			return err
		}
		return c.do(t.Context(), "GET", "/readyz", nil, nil, nil, nil)
	}
	if err := ask(client{addr: s.URL + "/", ca: ca}); err != nil {
		t.Fatal(err)
	}
	if got := <-seen; got != "Bearer sesame" {
		t.Errorf("sent %q", got)
	}
	if err := ask(client{addr: s.URL}); err == nil || !strings.Contains(err.Error(), "--tls-ca") {
		t.Errorf("without the authority: %v", err)
	}
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	if err := ask(client{addr: strings.Replace(plain.URL, "http:", "https:", 1)}); err == nil || !strings.Contains(err.Error(), "does not speak TLS") {
		t.Errorf("without TLS: %v", err)
	}
}

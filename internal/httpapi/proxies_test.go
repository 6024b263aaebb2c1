package httpapi

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// nginx buffers an answer until it is complete, unless a header forbids it. A client behind it
// waits for the headers, which come with the first bytes.
func TestAStreamPassesAProxy(t *testing.T) {
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, ": hello\n\n") })
	serving(t, func(cfg *Config) { cfg.Mounts = map[string]http.Handler{"GET /stream": page} }, func(x *fixture) {
		for path, accept := range map[string]string{"/v1/watch": "", "/v1/watch?snapshot=true": "", "/stream": eventStream} {
			req, err := http.NewRequest("GET", base+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Accept", accept)
			res, err := x.client.Do(req) // returns with the headers, though nothing happens
			if err != nil {
				t.Fatal(err)
			}
			if first, err := io.ReadAll(io.LimitReader(res.Body, 2)); string(first) != ": " || err != nil || res.Header.Get("X-Accel-Buffering") != "no" {
				t.Errorf("%s: %q, %v, with %v", path, first, err, res.Header)
			}
			res.Body.Close()
		}
		if got := x.must(200, "GET", "/v1/keys", ""); got.header.Get("X-Accel-Buffering") != "" {
			t.Errorf("an answer that is no stream has %v", got.header)
		}
	})
}

// Health checks of load balancers use HTTP/1.0, which has no Host header.
func TestAHostMayBeMissingBeforeHTTP11(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		for _, path := range []string{"/healthz", "/readyz", "/v1/keys"} {
			if got := x.raw("GET " + path + " HTTP/1.0\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.0 200 ") {
				t.Errorf("%s: %q", path, got)
			}
		}
		if got := x.raw("GET /healthz HTTP/1.0\r\nHost: evil.example\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.0 403 ") {
			t.Errorf("a foreign host: %q", got)
		}
	})
}

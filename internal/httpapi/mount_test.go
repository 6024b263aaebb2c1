package httpapi

import (
	"fmt"
	"net/http"
	"testing"
)

func TestMountsSitBehindTheSameChecks(t *testing.T) {
	page := func(text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, text) })
	}
	mounts := func(cfg *Config) {
		cfg.Mounts = map[string]http.Handler{"/": page("front"), "GET /ui/": page("ui"), "/mcp": page("mcp")}
		cfg.Public = map[string]http.Handler{"GET /login": page("login")}
	}
	serving(t, mounts, func(x *fixture) {
		for path, want := range map[string]string{"/": "front", "/ui/": "ui", "/ui/app.js": "ui", "/mcp": "mcp", "/login": "login"} {
			x.reads(path, want)
		}
		x.refused("no-such-route", x.must(404, "GET", "/other", ""))
		x.refused("bad-key", x.must(400, "GET", "/ui//app.js", ""))
		x.refused("bad-host", x.must(403, "GET", "/mcp", "", "Host", "evil.example"))
		x.must(403, "POST", "/mcp", "{}", "Origin", "http://evil.example")
		x.reads("/v1/keys", `{"items":[]}`)
	})
}

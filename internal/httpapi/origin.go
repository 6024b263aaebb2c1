package httpapi

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// hosts holds the names that a server answers to. A hostile web page can make a name of its own
// resolve to this server (DNS rebinding), but none of these. It cannot do that with an IP
// address: a listener on all addresses accepts any.
type hosts struct {
	names map[string]bool // lower case, without a port
	any   bool            // address
}

func newHosts(bound net.Addr, names []string) hosts {
	h := hosts{names: map[string]bool{"localhost": true}}
	for _, n := range names {
		h.names[strings.ToLower(n)] = true
	}
	if tcp, ok := bound.(*net.TCPAddr); ok {
		h.any = tcp.IP.IsUnspecified()
		h.names[tcp.IP.String()] = true
	}
	return h
}

func (h hosts) has(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	if h.names[host] {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && (h.any || ip.IsLoopback())
}

// guard refuses requests from web pages of another origin, and paths that the router would clean
// into other paths.
func (h *handler) guard(r *http.Request) *Problem {
	if r.Host != "" && !h.hosts.has(r.Host) { // HTTP/1.0 allows requests without a host, and no browser sends such
		return &Problem{Status: http.StatusForbidden, Code: "bad-host", Detail: fmt.Sprintf("host %q: this server answers to loopback addresses, the address on which it listens, and the names of --http-host", r.Host)}
	}
	if foreign(r) || h.protection.Check(r) != nil {
		return &Problem{Status: http.StatusForbidden, Code: "cross-site", Detail: "the request comes from a web page of another origin"}
	}
	path := r.URL.EscapedPath()
	if odd(path) {
		return &Problem{Status: http.StatusBadRequest, Code: "bad-key", Detail: "the path has a segment that is empty, . or ..; escape the whole key, slashes too"}
	}
	return nil
}

// foreign reports whether a page of another origin asks to see something. Such a page may link
// here, but it may not read, measure or hold streams open. A request without these headers comes
// from no browser, or from one that names the origin of requests that change something, which
// http.CrossOriginProtection checks.
func foreign(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return false
	case "":
		origin := r.Header.Get("Origin")
		return origin != "" && !sameOrigin(origin, r)
	default:
		return r.Method != http.MethodGet || r.Header.Get("Sec-Fetch-Mode") != "navigate" || r.Header.Get("Sec-Fetch-Dest") != "document"
	}
}

func sameOrigin(origin string, r *http.Request) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host == r.Host
}

// odd reports whether a path has a segment that the router would clean away. The paths of mounted
// handlers may end with a slash.
func odd(path string) bool {
	if path == "/" {
		return false
	}
	if !strings.HasPrefix(path, "/v1/") {
		path = strings.TrimSuffix(path, "/")
	}
	return !strings.HasPrefix(path, "/") || strings.Contains(path, "//") || strings.HasSuffix(path, "/") ||
		strings.Contains(path, "/./") || strings.Contains(path, "/../") || strings.HasSuffix(path, "/.") || strings.HasSuffix(path, "/..")
}

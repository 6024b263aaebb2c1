package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
	"github.com/sentinel-peer/sentinel-peer/internal/httpapi"
)

// endpoint holds the daemon's flags about the HTTP API: which clients may call it, and how.
type endpoint struct {
	tokenFile, certFile, keyFile string
	plain                        bool
	hosts                        []string
	rate                         int
}

func (e *endpoint) flags(f *pflag.FlagSet) {
	f.StringVar(&e.tokenFile, "token-file", "", "file with one caller a line: name, token or sha256:…, and what the caller may do, such as read:tasks/ write:memory/ lock:deploy admin")
	f.StringVar(&e.certFile, "tls-cert", "", "PEM file with the certificate of the HTTP API and its chain")
	f.StringVar(&e.keyFile, "tls-key", "", "PEM file with the private key of --tls-cert")
	f.BoolVar(&e.plain, "plain-http", false, "listen beyond loopback with tokens but without TLS: in a trusted network, or behind a proxy that speaks TLS")
	f.StringSliceVar(&e.hosts, "http-host", nil, "host name that the HTTP API answers to, beside localhost and addresses; may be repeated")
	f.IntVar(&e.rate, "http-rate", 0, "greatest number of requests per second of one client; 0 for no limit")
}

// access is which clients may call the HTTP API, as the files of the settings say.
type access struct {
	tokens      *httpapi.Tokens
	certificate *httpapi.Certificate
	open        bool // the API may listen beyond loopback
}

func (e *endpoint) open(ctx context.Context, logger *slog.Logger) (a access, err error) {
	if (e.certFile == "") != (e.keyFile == "") {
		return a, errors.New("--tls-cert and --tls-key go together")
	}
	if e.rate < 0 {
		return a, errors.New("--http-rate: want 0 or more")
	}
	if e.tokenFile != "" {
		if a.tokens, err = httpapi.LoadTokens(ctx, e.tokenFile, logger); err != nil {
			return a, err
		}
	}
	if e.certFile != "" {
		if a.certificate, err = httpapi.LoadCertificate(ctx, e.certFile, e.keyFile); err != nil {
			return a, err
		}
	}
	a.open = a.tokens != nil && (a.certificate != nil || e.plain)
	return a, nil
}

// reachable refuses an address of the HTTP API that other machines could reach, unless access
// allows that.
func (e *endpoint) reachable(addr string, a access) error {
	if strings.Contains(addr, ",") {
		return fmt.Errorf("--http %q: want one address to listen on", addr)
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil || a.open || client.IsLoopback(host) {
		return nil // if the address is wrong, listening there fails and says why
	}
	return fmt.Errorf("--http %s is beyond loopback, which needs --token-file, with --tls-cert and --tls-key, or with --plain-http in a network you trust", addr)
}

// names returns the host names to which a daemon that listens on addr answers.
func (e *endpoint) names(addr string) []string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil || host == "" {
		return e.hosts
	}
	return append(slices.Clip(e.hosts), host)
}

// reload reads the files again, if there are any, and reports each result by tell. A file that
// is refused changes nothing.
func (a access) reload(ctx context.Context, tell func(what string, err error)) (some bool) {
	if a.tokens != nil {
		tell("tokens", a.tokens.Reload(ctx))
	}
	if a.certificate != nil {
		tell("certificate", a.certificate.Reload(ctx))
	}
	return a.tokens != nil || a.certificate != nil
}

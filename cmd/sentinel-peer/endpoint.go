package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
)

// tokenVariable holds the token that opens a daemon. It is no flag: every user of the
// machine can read those.
const tokenVariable = "SENTINEL_TOKEN"

// base returns the URL of the daemon. --http is an address, or a URL for TLS.
func (c *client) base() string {
	if strings.Contains(c.addr, "://") {
		return strings.TrimSuffix(c.addr, "/")
	}
	return "http://" + dialled(c.addr)
}

// dialled is an address as it is called: a daemon that listens everywhere is reached on
// loopback, and one whose port is not given at the usual one.
func dialled(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		whole := strings.Trim(addr, "[]")
		if whole == "" || strings.Contains(whole, ":") && net.ParseIP(whole) == nil {
			return addr
		}
		_, usual, _ := net.SplitHostPort(defaultHTTP)
		host, port = whole, usual
	}
	if host == "" || net.ParseIP(host).IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// prepare checks the address, and reads what lets us in: token and authority.
func (c *client) prepare() error {
	u, err := url.Parse(c.base())
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return usage(fmt.Errorf("--http %q: want host:port, or https://host:port", c.addr))
	}
	c.token = strings.TrimSpace(os.Getenv(tokenVariable))
	if err := c.sealedToken(); err != nil || c.ca == "" {
		return err
	}
	pem, err := os.ReadFile(c.ca)
	if err != nil {
		return usage(fmt.Errorf("--tls-ca: %w", err))
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return usage(fmt.Errorf("--tls-ca %s: holds no certificate in PEM", c.ca))
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	c.web = &http.Client{Transport: transport}
	return nil
}

// sealedToken refuses to send a token where others on the way could read it.
func (c *client) sealedToken() error {
	u, err := url.Parse(c.base())
	if err != nil || c.token == "" || u.Scheme == "https" || isLoopback(u.Hostname()) || c.plainToken {
		return nil
	}
	return usage(fmt.Errorf("--http %s: a token would go over the network in plain text: use https://, or --plain-token in a network you trust", c.addr))
}

// commandEnv is our environment for commands of the user's: what opens the daemon to us is
// not theirs.
func commandEnv() []string {
	return slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, tokenVariable+"=") })
}

// send lets the request out, with the token.
func (c *client) send(req *http.Request) (*http.Response, error) {
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if c.web != nil {
		return c.web.Do(req)
	}
	return http.DefaultClient.Do(req)
}

// advice is what to do about a daemon that cannot be reached.
func advice(err error) string {
	if _, strange := errors.AsType[*tls.CertificateVerificationError](err); strange {
		return "its certificate is not trusted here: name its authority with --tls-ca"
	}
	if errors.Is(err, http.ErrSchemeMismatch) {
		return "it does not speak TLS: use http://, or the address alone"
	}
	return "start one with 'sentinel-peer agent', or name another with --http"
}

// errSpeaksTLS is a daemon behind TLS that was asked without.
var errSpeaksTLS = errors.New("it speaks TLS")

// speaksTLS recognises what Go's server says then.
func speaksTLS(status int, body []byte) bool {
	return status == http.StatusBadRequest && strings.Contains(string(body), "HTTP request to an HTTPS server")
}

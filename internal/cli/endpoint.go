package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/aside"
)

// tokenVariable holds the token that opens a daemon. It is no flag: every user of the
// machine can read those.
const tokenVariable = "SENTINEL_TOKEN"

// base returns the URL of the daemon.
func (c *client) base() string { return baseOf(c.daemon()) }

// baseOf returns the URL at an address, which may be a URL itself, for TLS.
func baseOf(addr string) string {
	if strings.Contains(addr, "://") {
		return strings.TrimSuffix(addr, "/")
	}
	return "http://" + dialled(addr)
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

// prepare checks the addresses, and reads what lets us in: token and authority.
func (c *client) prepare(ctx context.Context) error {
	c.pool = &pool{addrs: strings.Split(c.addr, ",")}
	for i, addr := range c.pool.addrs {
		c.pool.addrs[i] = strings.TrimSpace(addr)
		u, err := url.Parse(baseOf(c.pool.addrs[i]))
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || !portExists(u.Port()) {
			return usage(fmt.Errorf("--http %q: want host:port, or https://host:port, with a port up to 65535", addr))
		}
	}
	c.token = strings.TrimSpace(os.Getenv(tokenVariable))
	if err := c.sealedToken(); err != nil || c.ca == "" && c.pool.size() == 1 {
		return err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	c.web = &http.Client{Transport: transport}
	if n := c.pool.size(); n > 1 { // a machine that is off leaves time for the others
		transport.DialContext = (&net.Dialer{Timeout: c.timeout / time.Duration(n)}).DialContext
	}
	if c.ca == "" {
		return nil
	}
	pem, err := aside.ReadFile(ctx, c.ca)
	if err != nil {
		return usage(fmt.Errorf("--tls-ca: %w", err))
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(pem.Text) {
		return usage(fmt.Errorf("--tls-ca %s: holds no certificate in PEM", c.ca))
	}
	transport.TLSClientConfig = &tls.Config{RootCAs: authorities}
	return nil
}

// portExists says that a URL may have this port, or none.
func portExists(port string) bool {
	_, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil
}

// single refuses several addresses, for who speaks to one daemon.
func (c *client) single() error {
	if c.pool.size() > 1 {
		return usage(fmt.Errorf("--http %q: want one address here, not several", c.addr))
	}
	return nil
}

// sealedToken refuses to send a token where others on the way could read it.
func (c *client) sealedToken() error {
	for _, addr := range c.pool.addrs {
		u, err := url.Parse(baseOf(addr))
		if err == nil && c.token != "" && u.Scheme != "https" && !isLoopback(u.Hostname()) && !c.plainToken {
			return usage(fmt.Errorf("--http %s: a token would go over the network in plain text: use https://, or --plain-token in a network you trust", baseOf(addr)))
		}
	}
	return nil
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

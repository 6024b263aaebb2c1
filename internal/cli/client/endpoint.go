package client

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
	"strings"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/aside"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/command"
)

// TokenVariable is the environment variable with the token for the daemon. There is no flag
// for the token, since every user of the machine can read the flags of a process.
const TokenVariable = "SENTINEL_TOKEN"

// Base returns the URL of the daemon.
func (c *Client) Base() string { return baseOf(c.daemon()) }

// Prepare checks the addresses, and reads the token and the certificate authority.
func (c *Client) Prepare(ctx context.Context) error {
	c.Pool = &pool{addrs: strings.Split(c.Addr, ",")}
	for i, addr := range c.Pool.addrs {
		c.Pool.addrs[i] = strings.TrimSpace(addr)
		u, err := url.Parse(baseOf(c.Pool.addrs[i]))
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || !portExists(u.Port()) {
			return command.Usage(fmt.Errorf("--http %q: want host:port, or https://host:port, with a port up to 65535", addr))
		}
	}
	c.Token = strings.TrimSpace(os.Getenv(TokenVariable))
	if err := c.SealedToken(); err != nil || c.CA == "" && c.Pool.Size() == 1 {
		return err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	c.Web = &http.Client{Transport: transport}
	if n := c.Pool.Size(); n > 1 { // a machine that is off must leave time for the other addresses
		transport.DialContext = (&net.Dialer{Timeout: c.Timeout / time.Duration(n)}).DialContext
	}
	if c.CA == "" {
		return nil
	}
	pem, err := aside.ReadFile(ctx, c.CA)
	if err != nil {
		return command.Usage(fmt.Errorf("--tls-ca: %w", err))
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(pem.Text) {
		return command.Usage(fmt.Errorf("--tls-ca %s: holds no certificate in PEM", c.CA))
	}
	transport.TLSClientConfig = &tls.Config{RootCAs: authorities}
	return nil
}

// Single refuses several addresses, for a command that speaks to one daemon only.
func (c *Client) Single() error {
	if c.Pool.Size() > 1 {
		return command.Usage(fmt.Errorf("--http %q: want one address here, not several", c.Addr))
	}
	return nil
}

// SealedToken refuses to send a token over a network in plain text, unless PlainToken is set.
func (c *Client) SealedToken() error {
	for _, addr := range c.Pool.addrs {
		u, err := url.Parse(baseOf(addr))
		if err == nil && c.Token != "" && u.Scheme != "https" && !IsLoopback(u.Hostname()) && !c.PlainToken {
			return command.Usage(fmt.Errorf("--http %s: a token would go over the network in plain text: use https://, or --plain-token in a network you trust", baseOf(addr)))
		}
	}
	return nil
}

// Send sends a request with the token.
func (c *Client) Send(req *http.Request) (*http.Response, error) {
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	if c.Web != nil {
		return c.Web.Do(req)
	}
	return http.DefaultClient.Do(req)
}

// advice returns what the user can do about a daemon that cannot be reached.
func advice(err error) string {
	if _, strange := errors.AsType[*tls.CertificateVerificationError](err); strange {
		return "its certificate is not trusted here: name its certificate authority with --tls-ca"
	}
	if errors.Is(err, http.ErrSchemeMismatch) {
		return "it does not speak TLS: use http://, or the address alone"
	}
	return "start one with 'sentinel-peer agent', or name another with --http"
}

// ErrSpeaksTLS is the failure of a request without TLS to a daemon that speaks TLS.
var ErrSpeaksTLS = errors.New("it speaks TLS")

// speaksTLS recognises the answer of Go's server to a request without TLS.
func speaksTLS(status int, body []byte) bool {
	return status == http.StatusBadRequest && strings.Contains(string(body), "HTTP request to an HTTPS server")
}

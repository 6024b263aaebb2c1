package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/command"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/console"
	"github.com/sentinel-peer/sentinel-peer/internal/httpapi"
)

// Client talks to a daemon over HTTP.
type Client struct {
	Addr       string // the value of --http: one address, or several with commas between
	Pool       *pool  // the addresses in Addr; nil before Prepare
	bearing    bool   // requests name a lease, so that a repetition at another daemon does no harm
	CA         string // file with the authority of the daemon's certificate
	Token      string
	PlainToken bool         // the token may go beyond loopback without TLS
	Web        *http.Client // nil for http.DefaultClient
	Timeout    time.Duration
	Output     string // table, json or ndjson
	Out        io.Writer
}

// Do sends a request and decodes the JSON of the answer into the given value, unless that is nil.
func (c *Client) Do(ctx context.Context, method, path string, query url.Values, body []byte, header http.Header, into any) error {
	_, err := c.Versioned(ctx, method, path, query, body, header, into)
	return err
}

// Versioned is Do, and returns the version of the key that was read or written.
func (c *Client) Versioned(ctx context.Context, method, path string, query url.Values, body []byte, header http.Header, into any) (version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	header = header.Clone()
	if header == nil {
		header = http.Header{}
	}
	header.Set("Prefer", c.prefer())
	res, err := c.Open(ctx, method, path, query, body, header)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	version = strings.Trim(res.Header.Get("ETag"), `"`)
	if into == nil {
		return version, nil
	}
	if err := json.NewDecoder(res.Body).Decode(into); err != nil {
		return "", fmt.Errorf("answer of --http %s: %w", c.Addr, err)
	}
	return version, nil
}

// prefer returns the Prefer header. It makes the daemon answer, and say why something takes
// long, a fifth of the timeout (at most 2 s) before this client gives up.
func (c *Client) prefer() string {
	margin := min(c.Timeout/5, 2*time.Second)
	return fmt.Sprintf("wait=%.3f", (c.Timeout - margin).Seconds())
}

// Open sends a request and returns the answer if its status is below 300. Where the client has
// several daemons, it asks another if that cannot do harm: if the first one did not get the
// request, or if the request may be repeated.
func (c *Client) Open(ctx context.Context, method, path string, query url.Values, body []byte, header http.Header) (*http.Response, error) {
	for left := c.Pool.Size(); ; left-- {
		addr := c.daemon()
		res, err := c.ask(ctx, addr, method, path, query, body, header)
		if err == nil || !Passing(err) || ctx.Err() == context.Canceled {
			return res, err
		}
		c.Pool.leave(addr)
		switch {
		case !c.bearing && !unsent(err) || ctx.Err() != nil:
			return nil, err
		case left == 1:
			return nil, c.Pool.exhausted(err)
		}
	}
}

// ask sends a request to the daemon at one address.
func (c *Client) ask(ctx context.Context, addr, method, path string, query url.Values, body []byte, header http.Header) (*http.Response, error) {
	base := baseOf(addr)
	u := base + path
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, u, bytes.NewReader(body))
	if err != nil {
		return nil, command.Usage(fmt.Errorf("--http %q: %w", addr, err))
	}
	for k, v := range header {
		req.Header[k] = v
	}
	res, err := c.Send(req)
	if err != nil {
		return nil, c.unreachable(addr, err)
	}
	if res.StatusCode < 300 {
		return res, nil
	}
	defer res.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20)) // a part of the answer says enough
	if speaksTLS(res.StatusCode, answer) {
		return nil, command.Exit(api.ExitUnreachable, fmt.Errorf("the daemon at %s: %w: use --http https://%s, with --tls-ca if the system does not trust its authority", addr, ErrSpeaksTLS, HostPort(base)))
	}
	var p httpapi.Problem
	if err := json.Unmarshal(answer, &p); err != nil || p.Detail == "" {
		p.Detail = res.Status
	}
	if p.Detail == "not found" {
		p.Detail = nameOf(path) + ": not found"
	}
	p.Detail = strings.TrimPrefix(p.Detail, "batch: ") // the user sent one item, not a batch
	if p.Current != "" {
		p.Detail += " (current version " + p.Current + ")"
	}
	if p.Code == "not-replicated" || p.Code == "rotated" {
		p.Detail += "; it is written here, and goes on spreading"
	}
	return nil, command.Exit(api.ExitCode(res.StatusCode), &Refusal{p})
}

// Refusal is the answer of a daemon that reports an error.
type Refusal struct{ httpapi.Problem }

func (r *Refusal) Error() string { return r.Detail }

// noAnswer is the error of a request that was not answered in time.
type noAnswer struct {
	text  string
	cause error
}

func (e *noAnswer) Error() string { return e.text }
func (e *noAnswer) Unwrap() error { return e.cause }

func (c *Client) unreachable(addr string, err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if timeout, ok := errors.AsType[net.Error](err); errors.Is(err, context.DeadlineExceeded) || ok && timeout.Timeout() {
		return command.Exit(api.ExitTimeout, &noAnswer{fmt.Sprintf("no answer from %s within %v", addr, c.Timeout), err})
	}
	return command.Exit(api.ExitUnreachable, fmt.Errorf("no daemon at %s (%s): %w", addr, advice(err), err))
}

// nameOf describes what a path names: /v1/keys/a%2Fb is key "a/b".
func nameOf(path string) string {
	kind, name, _ := strings.Cut(strings.TrimPrefix(path, "/v1/"), "/")
	if plain, err := url.PathUnescape(name); err == nil {
		name = plain
	}
	return fmt.Sprintf("%s %q", strings.TrimSuffix(kind, "s"), name)
}

// KeyPath appends a name, which may have any characters, to a prefix of the API.
func KeyPath(prefix, key string) string { return prefix + url.PathEscape(key) }

// Show prints v as JSON, or, with -o table, as rows under a header.
func (c *Client) Show(v any, header string, rows func(t console.Table)) error {
	if c.Output == "table" && rows != nil {
		t := console.NewTable(c.Out, header)
		rows(t)
		return t.Flush()
	}
	e := json.NewEncoder(c.Out)
	if c.Output == "json" {
		e.SetIndent("", "  ")
	}
	return e.Encode(v)
}

// Command completes a command that needs a daemon. The command gets the flags of the client;
// run is called once they are checked.
func (c *Client) Command(cmd *cobra.Command, run func(cmd *cobra.Command, args []string) error) *cobra.Command {
	f := cmd.Flags()
	f.StringVar(&c.Addr, "http", DefaultHTTP, "address of the daemon's HTTP API, or its https:// URL; of several, separated by commas, the first that can be reached is asked; a token goes into $SENTINEL_TOKEN")
	f.BoolVar(&c.PlainToken, "plain-token", false, "send the token without TLS beyond loopback: in a trusted network")
	f.StringVar(&c.CA, "tls-ca", "", "file with the certificate authority of the daemon, if the system does not trust it already")
	f.DurationVar(&c.Timeout, "timeout", 10*time.Second, "how long to wait for the daemon")
	f.StringVarP(&c.Output, "output", "o", "table", "format of the output: table, json or ndjson")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := command.Settle(cmd, ""); err != nil {
			return err
		}
		if err := command.Plausible(cmd.Flags()); err != nil {
			return err
		}
		if c.Output != "table" && c.Output != "json" && c.Output != "ndjson" {
			return command.Usage(fmt.Errorf("-o %q: want table, json or ndjson", c.Output))
		}
		if err := c.Prepare(cmd.Context()); err != nil {
			return err
		}
		c.Out = cmd.OutOrStdout()
		return run(cmd, args)
	}
	return cmd
}

// Everything reads all pages of a list and returns them as one.
func Everything[T any](ctx context.Context, c *Client, path string, query url.Values) (api.List[T], error) {
	all := api.List[T]{Items: []T{}}
	for {
		var page api.List[T]
		if err := c.Do(ctx, "GET", path, query, nil, nil, &page); err != nil {
			return all, err
		}
		all.Items, all.Count = append(all.Items, page.Items...), page.Count
		if page.Next == "" {
			if all.Count == nil {
				all.Count = new(len(all.Items))
			}
			return all, nil
		}
		query.Set("after", page.Next)
	}
}

// Print shows the JSON that the daemon returns for a path.
func (c *Client) Print(cmd *cobra.Command, path string) error {
	var v json.RawMessage
	if err := c.Do(cmd.Context(), "GET", path, nil, nil, nil, &v); err != nil {
		return err
	}
	if c.Output == "table" {
		c.Output = "json"
	}
	return c.Show(v, "", nil)
}

// Members returns the members that the daemon's peer knows.
func (c *Client) Members(ctx context.Context) ([]api.Member, error) {
	var list api.List[api.Member]
	err := c.Do(ctx, "GET", "/v1/members", nil, nil, nil, &list)
	return list.Items, err
}

// Ready returns what is wrong with the daemon itself, nil if it is ready.
func (c *Client) Ready(ctx context.Context) error {
	err := c.Do(ctx, "GET", "/readyz", nil, nil, nil, nil)
	if refused, ok := errors.AsType[*Refusal](err); ok {
		return fmt.Errorf("this peer is not ready: %w", refused)
	}
	return err
}

// QueuePath returns the path of a queue, or of a part of it.
func QueuePath(name string, rest ...string) string {
	path := KeyPath("/v1/queues/", name)
	for _, part := range rest {
		path += KeyPath("/", part)
	}
	return path
}

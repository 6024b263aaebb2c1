package cli

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

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/httpapi"
)

// client talks to a daemon.
type client struct {
	addr       string // of --http: one, or several with commas between
	pool       *pool  // of those addresses; nil before prepare, when addr is one
	bearing    bool   // requests name a lease: whoever repeats one elsewhere does no more than the first did
	ca         string // file with the authority of the daemon's certificate
	token      string
	plainToken bool
	web        *http.Client // nil for the usual one
	timeout    time.Duration
	output     string
	out        io.Writer
}

// do sends a request and decodes the JSON answer into into, if that is not nil.
func (c *client) do(ctx context.Context, method, path string, query url.Values, body []byte, header http.Header, into any) error {
	_, err := c.versioned(ctx, method, path, query, body, header, into)
	return err
}

// versioned is do, and returns the version of the key that was read or written.
func (c *client) versioned(ctx context.Context, method, path string, query url.Values, body []byte, header http.Header, into any) (version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	header = header.Clone()
	if header == nil {
		header = http.Header{}
	}
	header.Set("Prefer", c.prefer())
	res, err := c.open(ctx, method, path, query, body, header)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	version = strings.Trim(res.Header.Get("ETag"), `"`)
	if into == nil {
		return version, nil
	}
	if err := json.NewDecoder(res.Body).Decode(into); err != nil {
		return "", fmt.Errorf("answer of --http %s: %w", c.addr, err)
	}
	return version, nil
}

// prefer has the daemon say why something takes long, before we give up.
func (c *client) prefer() string {
	margin := min(c.timeout/5, 2*time.Second)
	return fmt.Sprintf("wait=%.3f", (c.timeout - margin).Seconds())
}

// open sends a request and returns the answer if it is a good one. Of several daemons
// another is asked if that cannot do harm: this one did not get the request, or it may be
// repeated.
func (c *client) open(ctx context.Context, method, path string, query url.Values, body []byte, header http.Header) (*http.Response, error) {
	for left := c.pool.size(); ; left-- {
		addr := c.daemon()
		res, err := c.ask(ctx, addr, method, path, query, body, header)
		if err == nil || !passing(err) || ctx.Err() == context.Canceled {
			return res, err
		}
		c.pool.leave(addr)
		switch {
		case !c.bearing && !unsent(err) || ctx.Err() != nil:
			return nil, err
		case left == 1:
			return nil, c.pool.exhausted(err)
		}
	}
}

// ask is open at one daemon.
func (c *client) ask(ctx context.Context, addr, method, path string, query url.Values, body []byte, header http.Header) (*http.Response, error) {
	base := baseOf(addr)
	u := base + path
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, u, bytes.NewReader(body))
	if err != nil {
		return nil, usage(fmt.Errorf("--http %q: %w", addr, err))
	}
	for k, v := range header {
		req.Header[k] = v
	}
	res, err := c.send(req)
	if err != nil {
		return nil, c.unreachable(addr, err)
	}
	if res.StatusCode < 300 {
		return res, nil
	}
	defer res.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20)) // what came says enough
	if speaksTLS(res.StatusCode, answer) {
		return nil, &exitError{api.ExitUnreachable, fmt.Errorf("the daemon at %s: %w: use --http https://%s, with --tls-ca if the system does not know its authority", addr, errSpeaksTLS, hostPort(base))}
	}
	var p httpapi.Problem
	if err := json.Unmarshal(answer, &p); err != nil || p.Detail == "" {
		p.Detail = res.Status
	}
	if p.Detail == "not found" {
		p.Detail = nameOf(path) + ": not found"
	}
	p.Detail = strings.TrimPrefix(p.Detail, "batch: ") // of one
	if p.Current != "" {
		p.Detail += " (current version " + p.Current + ")"
	}
	if p.Code == "not-replicated" || p.Code == "rotated" {
		p.Detail += "; it is written here, and goes on spreading"
	}
	return nil, &exitError{api.ExitCode(res.StatusCode), &refusal{p}}
}

// refusal is an answer that is no good one.
type refusal struct{ httpapi.Problem }

func (r *refusal) Error() string { return r.Detail }

// noAnswer is a request that was not answered in time, in our words.
type noAnswer struct {
	text  string
	cause error
}

func (e *noAnswer) Error() string { return e.text }
func (e *noAnswer) Unwrap() error { return e.cause }

func (c *client) unreachable(addr string, err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if timeout, ok := errors.AsType[net.Error](err); errors.Is(err, context.DeadlineExceeded) || ok && timeout.Timeout() {
		return &exitError{api.ExitTimeout, &noAnswer{fmt.Sprintf("no answer from %s within %v", addr, c.timeout), err}}
	}
	return &exitError{api.ExitUnreachable, fmt.Errorf("no daemon at %s (%s): %w", addr, advice(err), err)}
}

// nameOf says what a path names: /v1/keys/a%2Fb is key "a/b".
func nameOf(path string) string {
	kind, name, _ := strings.Cut(strings.TrimPrefix(path, "/v1/"), "/")
	if plain, err := url.PathUnescape(name); err == nil {
		name = plain
	}
	return fmt.Sprintf("%s %q", strings.TrimSuffix(kind, "s"), name)
}

func keyPath(prefix, key string) string { return prefix + url.PathEscape(key) }

// show prints v as JSON, or as rows under -o table.
func (c *client) show(v any, header string, rows func(t table)) error {
	if c.output == "table" && rows != nil {
		t := newTable(c.out, header)
		rows(t)
		return t.w.Flush()
	}
	e := json.NewEncoder(c.out)
	if c.output == "json" {
		e.SetIndent("", "  ")
	}
	return e.Encode(v)
}

// clientCommands returns the commands that need a daemon.
func clientCommands() []*cobra.Command {
	c := &client{}
	add := func(cmd *cobra.Command, run func(cmd *cobra.Command, args []string) error) *cobra.Command {
		f := cmd.Flags()
		f.StringVar(&c.addr, "http", defaultHTTP, "address of the daemon's HTTP API, or its https:// URL; several with commas, of which the first that can be reached is asked; a token goes into $SENTINEL_TOKEN")
		f.BoolVar(&c.plainToken, "plain-token", false, "send the token without TLS beyond loopback: in a trusted network")
		f.StringVar(&c.ca, "tls-ca", "", "file with the authority of the daemon's certificate, if the system does not know it")
		f.DurationVar(&c.timeout, "timeout", 10*time.Second, "how long to wait for the daemon")
		f.StringVarP(&c.output, "output", "o", "table", "table, json or ndjson")
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if err := settle(cmd, ""); err != nil {
				return err
			}
			if err := plausible(cmd.Flags()); err != nil {
				return err
			}
			if c.output != "table" && c.output != "json" && c.output != "ndjson" {
				return usage(fmt.Errorf("-o %q: want table, json or ndjson", c.output))
			}
			if err := c.prepare(cmd.Context()); err != nil {
				return err
			}
			c.out = cmd.OutOrStdout()
			return run(cmd, args)
		}
		return cmd
	}
	return []*cobra.Command{c.get(add), c.put(add), c.delete(add), c.keys(add), c.watch(add), c.set(add), c.counter(add), c.task(add), c.worker(add), c.queue(add), c.lock(add), c.locks(add), c.status(add), c.top(add), c.members(add), c.forget(add), c.stats(add), c.conflicts(add)}
}

// everything returns all pages of a list as one.
func everything[T any](ctx context.Context, c *client, path string, query url.Values) (api.List[T], error) {
	all := api.List[T]{Items: []T{}}
	for {
		var page api.List[T]
		if err := c.do(ctx, "GET", path, query, nil, nil, &page); err != nil {
			return all, err
		}
		all.Items, all.Count = append(all.Items, page.Items...), page.Count
		if page.Next == "" {
			return all, nil
		}
		query.Set("after", page.Next)
	}
}

type register func(*cobra.Command, func(*cobra.Command, []string) error) *cobra.Command

func (c *client) get(add register) *cobra.Command {
	return add(&cobra.Command{
		Use: "get KEY", Short: "Print the value of a key, as JSON; with -o json, its version too",
		Example: "  sentinel-peer get tasks/42/state", Args: args(cobra.ExactArgs(1)),
		ValidArgsFunction: c.completeKeys,
	}, func(cmd *cobra.Command, args []string) error {
		var v json.RawMessage
		version, err := c.versioned(cmd.Context(), "GET", keyPath("/v1/keys/", args[0]), nil, nil, nil, &v)
		if err != nil {
			return err
		}
		if c.output == "table" {
			_, err := fmt.Fprintln(c.out, string(v))
			return err
		}
		return c.show(keyVersion{args[0], version, v}, "", nil)
	})
}

// keyVersion is a key that was read or written, for --if-version of the next write.
type keyVersion struct {
	Key     string          `json:"key"`
	Version string          `json:"version"`
	Value   json.RawMessage `json:"value,omitempty"`
}

func (c *client) put(add register) *cobra.Command {
	var ttl time.Duration
	var kind, version string
	var replicas int
	var absent bool
	cmd := &cobra.Command{
		Use: "put KEY VALUE", Short: "Assign a key a JSON value, or text; - reads it from standard input",
		Long: `Assign a key a JSON value, or text; - reads it from standard input. With -o json, the
key's new version is printed.

What begins with {, [ or " and is no JSON is refused, for it is rarely meant as text. As
text, such a value is a JSON string: put note '"[x] done"'.`,
		Example: `  sentinel-peer put tasks/42/state '{"status":"running"}'
  sentinel-peer put session/7 alive --ttl 30s
  sentinel-peer put config/limit 10 --if-version 3f0c9a1b2d4e5f60`,
		Args: args(cobra.ExactArgs(2)), ValidArgsFunction: c.completeKeys,
	}
	f := cmd.Flags()
	f.DurationVar(&ttl, "ttl", 0, "expire after; without it, never")
	f.StringVar(&kind, "type", "", "register, set, max, object or custom, for a key without a rule")
	f.IntVar(&replicas, "replicas", 0, "wait until so many other peers have it")
	f.StringVar(&version, "if-version", "", "only if this is the key's version on the daemon's peer, as keys, get -o json and put -o json print it")
	f.BoolVar(&absent, "if-absent", false, "only if the key does not exist there")
	return add(cmd, func(cmd *cobra.Command, args []string) error {
		body, err := typedValue(args[1])
		if err != nil {
			return err
		}
		q, h := url.Values{}, http.Header{}
		if ttl != 0 || cmd.Flags().Changed("ttl") { // 0 is refused, as everywhere
			q.Set("ttl", ttl.String())
		}
		if kind != "" {
			q.Set("type", kind)
		}
		if replicas != 0 {
			q.Set("replicas", fmt.Sprint(replicas))
		}
		if cmd.Flags().Changed("if-version") { // an empty one is a mistake, not a wish for none
			if _, err := crdt.ParseVersion(version); err != nil {
				return usage(fmt.Errorf("--if-version %q: want 16 hex digits, as keys, get -o json and put -o json print them", version))
			}
			h.Set("If-Match", `"`+version+`"`)
		}
		if absent {
			h.Set("If-None-Match", "*")
		}
		made, err := c.versioned(cmd.Context(), "PUT", keyPath("/v1/keys/", args[0]), q, body, h, nil)
		if err != nil || c.output == "table" {
			return err
		}
		return c.show(keyVersion{args[0], made, nil}, "", nil)
	})
}

func (c *client) delete(add register) *cobra.Command {
	return add(&cobra.Command{
		Use: "delete KEY", Short: "Delete a key", Example: "  sentinel-peer delete tasks/42/state", Args: args(cobra.ExactArgs(1)),
		ValidArgsFunction: c.completeKeys,
	}, func(cmd *cobra.Command, args []string) error {
		return c.do(cmd.Context(), "DELETE", keyPath("/v1/keys/", args[0]), nil, nil, nil, nil)
	})
}

func (c *client) keys(add register) *cobra.Command {
	var values bool
	cmd := &cobra.Command{
		Use: "keys [PATTERN]", Short: "List keys that match a glob (* within a segment, ** across them)",
		Example: "  sentinel-peer keys 'tasks/*/state' --values", Args: args(cobra.MaximumNArgs(1)),
	}
	cmd.Flags().BoolVar(&values, "values", false, "show values too")
	return add(cmd, func(cmd *cobra.Command, args []string) error {
		q := url.Values{"match": {"**"}}
		if len(args) > 0 {
			q.Set("match", args[0])
		}
		if values {
			q.Set("values", "true")
		}
		all, err := everything[api.Key](cmd.Context(), c, "/v1/keys", q)
		if err != nil {
			return err
		}
		if c.output == "ndjson" {
			for _, k := range all.Items {
				if err := c.show(k, "", nil); err != nil {
					return err
				}
			}
			return nil
		}
		header := "KEY\tTYPE\tWRITER\tVERSION"
		if values {
			header += "\tVALUE"
		}
		return c.show(all, header, func(t table) {
			for _, k := range all.Items {
				cells := []any{k.Key, k.Type, k.Writer, k.Version}
				if k.Value != nil {
					cells = append(cells, k.Value)
				}
				t.row(cells...)
			}
		})
	})
}

func (c *client) set(add register) *cobra.Command {
	return add(&cobra.Command{
		Use: "set add|remove KEY VALUE...", Short: "Add to or remove from a set",
		Example: "  sentinel-peer set add tags/42 urgent gpu", Args: args(cobra.MinimumNArgs(3)),
	}, func(cmd *cobra.Command, args []string) error {
		if args[0] != "add" && args[0] != "remove" {
			return usage(fmt.Errorf("set %q: want add or remove", args[0]))
		}
		var values []json.RawMessage
		for _, s := range args[2:] {
			v, err := jsonOrText(s)
			if err != nil {
				return err
			}
			values = append(values, v)
		}
		body, err := json.Marshal(map[string]any{args[0]: values})
		if err != nil {
			return err
		}
		return c.do(cmd.Context(), "POST", keyPath("/v1/sets/", args[1]), nil, body, nil, nil)
	})
}

func (c *client) counter(add register) *cobra.Command {
	return add(&cobra.Command{
		Use: "counter add|max KEY N", Short: "Count up or down, or raise a maximum",
		Example: "  sentinel-peer counter add jobs/done 1\n  sentinel-peer counter add jobs/done -- -1", Args: args(cobra.ExactArgs(3)),
	}, func(cmd *cobra.Command, args []string) error {
		if args[0] != "add" && args[0] != "max" {
			return usage(fmt.Errorf("counter %q: want add or max", args[0]))
		}
		check := map[string]func(name, arg string) error{"add": wholeNumber, "max": anyNumber}[args[0]]
		if err := check("N", args[2]); err != nil {
			return err
		}
		var v api.Written
		body := fmt.Appendf(nil, "{%q:%s}", args[0], args[2])
		if err := c.do(cmd.Context(), "POST", keyPath("/v1/counters/", args[1]), nil, body, nil, &v); err != nil {
			return err
		}
		_, err := fmt.Fprintln(c.out, v.Value)
		return err
	})
}

func (c *client) members(add register) *cobra.Command {
	return add(&cobra.Command{
		Use: "members", Short: "List the peers", Example: "  sentinel-peer members -o json", Args: args(cobra.NoArgs),
	}, func(cmd *cobra.Command, _ []string) error {
		var list api.List[api.Member]
		if err := c.do(cmd.Context(), "GET", "/v1/members", nil, nil, nil, &list); err != nil {
			return err
		}
		return c.show(list, "NAME\tSTATE\tADDR\tHTTP\tLAG\tPACKETS\tPROBLEMS", func(t table) {
			for _, m := range list.Items {
				name := m.Name
				if m.Self {
					name += " (this)"
				}
				t.row(name, m.State, m.Addr, m.HTTP, m.Lag, passage(m.Packets), strings.Join(m.Problems, ", "))
			}
		})
	})
}

func (c *client) stats(add register) *cobra.Command {
	return add(&cobra.Command{
		Use: "stats", Short: "Print counters and gauges of the daemon's peer", Example: "  sentinel-peer stats", Args: args(cobra.NoArgs),
	}, func(cmd *cobra.Command, _ []string) error {
		var v json.RawMessage
		if err := c.do(cmd.Context(), "GET", "/v1/stats", nil, nil, nil, &v); err != nil {
			return err
		}
		if c.output == "table" {
			c.output = "json"
		}
		return c.show(v, "", nil)
	})
}

func (c *client) conflicts(add register) *cobra.Command {
	return add(&cobra.Command{
		Use: "conflicts [PATTERN]", Short: "List concurrent writes that lost, newest first", Example: "  sentinel-peer conflicts 'tasks/**'", Args: args(cobra.MaximumNArgs(1)),
	}, func(cmd *cobra.Command, args []string) error {
		q := url.Values{"match": {"**"}}
		if len(args) > 0 {
			q.Set("match", args[0])
		}
		var list api.List[api.Conflict]
		if err := c.do(cmd.Context(), "GET", "/v1/conflicts", q, nil, nil, &list); err != nil {
			return err
		}
		return c.show(list, "KEY\tKEPT\tBY\tLOST\tBY\tRULE", func(t table) {
			for _, x := range list.Items {
				t.row(x.Key+x.Path, x.Winner.Value, x.Winner.Writer, x.Loser.Value, x.Loser.Writer, x.Rule)
			}
		})
	})
}

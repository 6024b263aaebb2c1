package data

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/command"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/console"
)

func newGet(c *client.Client) *cobra.Command {
	var path, has, after string
	var count bool
	var limit int
	cmd := &cobra.Command{
		Use: "get KEY", Short: "Print the value of a key, or a part of it, as JSON; with -o json, its version too",
		Example: `  sentinel-peer get tasks/42/state
  sentinel-peer get tasks/42/state --path /status
  sentinel-peer get tasks/done --has 7
  sentinel-peer get tasks/done --limit 100`, Args: command.Args(cobra.ExactArgs(1)),
		ValidArgsFunction: completeKeys(c),
	}
	f := cmd.Flags()
	f.StringVar(&path, "path", "", "only the field of an object at this JSON pointer, such as /a/b")
	f.StringVar(&has, "has", "", "whether a set has this element, JSON or text: true or false")
	f.BoolVar(&count, "len", false, "the number of elements of a set")
	f.IntVar(&limit, "limit", 0, "a page of the elements of a set or the fields of an object, with up to this many (1000)")
	f.StringVar(&after, "after", "", "the page that follows the one with this \"next\"")
	return c.Command(cmd, func(cmd *cobra.Command, args []string) error {
		q := url.Values{}
		if cmd.Flags().Changed("path") {
			q.Set("path", path)
		}
		if cmd.Flags().Changed("has") {
			element, err := command.TypedValue(has)
			if err != nil {
				return err
			}
			q.Set("has", string(element))
		}
		if count {
			q.Set("len", "true")
		}
		if cmd.Flags().Changed("limit") {
			q.Set("limit", strconv.Itoa(limit))
		}
		if after != "" {
			q.Set("after", after)
		}
		var v json.RawMessage
		version, err := c.Versioned(cmd.Context(), "GET", client.KeyPath("/v1/keys/", args[0]), q, nil, nil, &v)
		if err != nil {
			return err
		}
		if c.Output == "table" {
			_, err := fmt.Fprintln(c.Out, string(v))
			return err
		}
		return c.Show(keyVersion{args[0], version, v}, "", nil)
	})
}

// keyVersion is a key that was read or written, with its version for --if-version.
type keyVersion struct {
	Key     string          `json:"key"`
	Version string          `json:"version,omitempty"` // a part has none
	Value   json.RawMessage `json:"value,omitempty"`
}

func newPut(c *client.Client) *cobra.Command {
	var ttl time.Duration
	var kind, version string
	var replicas int
	var absent bool
	cmd := &cobra.Command{
		Use: "put KEY VALUE", Short: "Set a key to a JSON value or text; - reads the value from standard input",
		Long: `Set a key to a JSON value or text; - reads the value from standard input. With -o json,
		the key's new version is printed.

		A value that begins with {, [ or " but is not JSON is refused, since it is rarely meant as
		text. As text, such a value is a JSON string: put note '"[x] done"'.`,
		Example: `  sentinel-peer put tasks/42/state '{"status":"running"}'
  sentinel-peer put session/7 alive --ttl 30s
  sentinel-peer put config/limit 10 --if-version 3f0c9a1b2d4e5f60`,
		Args: command.Args(cobra.ExactArgs(2)), ValidArgsFunction: completeKeys(c),
	}
	f := cmd.Flags()
	f.DurationVar(&ttl, "ttl", 0, "the key expires after this time; without --ttl, never")
	f.StringVar(&kind, "type", "", "register, set, max, object or custom, for a key to which no rule of the daemon applies")
	f.IntVar(&replicas, "replicas", 0, "wait until this many other peers have the write")
	f.StringVar(&version, "if-version", "", "write only if this is the key's version on the daemon's peer, as keys, get -o json and put -o json print it")
	f.BoolVar(&absent, "if-absent", false, "write only if the key does not exist on the daemon's peer")
	return c.Command(cmd, func(cmd *cobra.Command, args []string) error {
		body, err := command.TypedValue(args[1])
		if err != nil {
			return err
		}
		q, h := url.Values{}, http.Header{}
		if ttl != 0 || cmd.Flags().Changed("ttl") { // the daemon refuses an explicit 0
			q.Set("ttl", ttl.String())
		}
		if kind != "" {
			q.Set("type", kind)
		}
		if replicas != 0 {
			q.Set("replicas", fmt.Sprint(replicas))
		}
		if cmd.Flags().Changed("if-version") { // an explicit "" is refused: it is a mistake
			if _, err := crdt.ParseVersion(version); err != nil {
				return command.Usage(fmt.Errorf("--if-version %q: want 16 hex digits, as keys, get -o json and put -o json print them", version))
			}
			h.Set("If-Match", `"`+version+`"`)
		}
		if absent {
			h.Set("If-None-Match", "*")
		}
		made, err := c.Versioned(cmd.Context(), "PUT", client.KeyPath("/v1/keys/", args[0]), q, body, h, nil)
		if err != nil || c.Output == "table" {
			return err
		}
		return c.Show(keyVersion{args[0], made, nil}, "", nil)
	})
}

func newDelete(c *client.Client) *cobra.Command {
	return c.Command(&cobra.Command{
		Use: "delete KEY", Short: "Delete a key", Example: "  sentinel-peer delete tasks/42/state", Args: command.Args(cobra.ExactArgs(1)),
		ValidArgsFunction: completeKeys(c),
	}, func(cmd *cobra.Command, args []string) error {
		return c.Do(cmd.Context(), "DELETE", client.KeyPath("/v1/keys/", args[0]), nil, nil, nil, nil)
	})
}

func newExpire(c *client.Client) *cobra.Command {
	return c.Command(&cobra.Command{
		Use: "expire KEY [TTL]", Short: "Make what a key holds end after a time, without writing its value; without TTL, print when it ends",
		Example: "  sentinel-peer expire session/7 30s\n  sentinel-peer expire session/7", Args: command.Args(cobra.RangeArgs(1, 2)),
		ValidArgsFunction: completeKeys(c),
	}, func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			return deadline(cmd, c, "GET", args[0], nil)
		}
		return deadline(cmd, c, "PUT", args[0], url.Values{"ttl": {args[1]}})
	})
}

func newPersist(c *client.Client) *cobra.Command {
	return c.Command(&cobra.Command{
		Use: "persist KEY", Short: "Make what a key holds stay, whatever TTL it has",
		Example: "  sentinel-peer persist session/7", Args: command.Args(cobra.ExactArgs(1)),
		ValidArgsFunction: completeKeys(c),
	}, func(cmd *cobra.Command, args []string) error { return deadline(cmd, c, "DELETE", args[0], nil) })
}

// deadline asks for the deadline of a key, or changes it, and prints it.
func deadline(cmd *cobra.Command, c *client.Client, method, key string, q url.Values) error {
	var d api.Deadline
	if err := c.Do(cmd.Context(), method, client.KeyPath("/v1/deadlines/", key), q, nil, nil, &d); err != nil {
		return err
	}
	return c.Show(d, "KEY\tENDS\tTTL", func(t console.Table) {
		if d.At == nil {
			t.Row(d.Key, "never", "-")
			return
		}
		t.Row(d.Key, d.At.Format(time.RFC3339), d.TTL)
	})
}

func newKeys(c *client.Client) *cobra.Command {
	var values bool
	cmd := &cobra.Command{
		Use: "keys [PATTERN]", Short: "List keys that match a glob (* within a segment, ** across segments)",
		Example: "  sentinel-peer keys 'tasks/*/state' --values", Args: command.Args(cobra.MaximumNArgs(1)),
	}
	cmd.Flags().BoolVar(&values, "values", false, "show the values too")
	return c.Command(cmd, func(cmd *cobra.Command, args []string) error {
		q := matching(args)
		if values {
			q.Set("values", "true")
		}
		all, err := client.Everything[api.Key](cmd.Context(), c, "/v1/keys", q)
		if err != nil {
			return err
		}
		if c.Output == "ndjson" {
			for _, k := range all.Items {
				if err := c.Show(k, "", nil); err != nil {
					return err
				}
			}
			return nil
		}
		header := "KEY\tTYPE\tWRITER\tVERSION"
		if values {
			header += "\tVALUE"
		}
		return c.Show(all, header, func(t console.Table) {
			for _, k := range all.Items {
				cells := []any{k.Key, k.Type, k.Writer, k.Version}
				if k.Value != nil {
					cells = append(cells, k.Value)
				}
				t.Row(cells...)
			}
		})
	})
}

func newSet(c *client.Client) *cobra.Command {
	return c.Command(&cobra.Command{
		Use: "set add|remove KEY VALUE...", Short: "Add values to a set, or remove them",
		Example: "  sentinel-peer set add tags/42 urgent gpu", Args: command.Args(cobra.MinimumNArgs(3)),
	}, func(cmd *cobra.Command, args []string) error {
		if args[0] != "add" && args[0] != "remove" {
			return command.Usage(fmt.Errorf("set %q: want add or remove", args[0]))
		}
		var values []json.RawMessage
		for _, s := range args[2:] {
			v, err := command.JSONOrText(s)
			if err != nil {
				return err
			}
			values = append(values, v)
		}
		return send(cmd, c, "POST", client.KeyPath("/v1/sets/", args[1]), map[string]any{args[0]: values})
	})
}

func newCounter(c *client.Client) *cobra.Command {
	return c.Command(&cobra.Command{
		Use: "counter add|max KEY N", Short: "Add to a counter, or raise a maximum",
		Example: "  sentinel-peer counter add jobs/done 1\n  sentinel-peer counter add jobs/done -- -1", Args: command.Args(cobra.ExactArgs(3)),
	}, func(cmd *cobra.Command, args []string) error {
		if args[0] != "add" && args[0] != "max" {
			return command.Usage(fmt.Errorf("counter %q: want add or max", args[0]))
		}
		check := map[string]func(name, arg string) error{"add": command.WholeNumber, "max": command.AnyNumber}[args[0]]
		if err := check("N", args[2]); err != nil {
			return err
		}
		var v api.Written
		body := fmt.Appendf(nil, "{%q:%s}", args[0], args[2])
		if err := c.Do(cmd.Context(), "POST", client.KeyPath("/v1/counters/", args[1]), nil, body, nil, &v); err != nil {
			return err
		}
		_, err := fmt.Fprintln(c.Out, v.Value)
		return err
	})
}

func newConflicts(c *client.Client) *cobra.Command {
	return c.Command(&cobra.Command{
		Use: "conflicts [PATTERN]", Short: "List concurrent writes that lost, newest first", Example: "  sentinel-peer conflicts 'tasks/**'", Args: command.Args(cobra.MaximumNArgs(1)),
	}, func(cmd *cobra.Command, args []string) error {
		var list api.List[api.Conflict]
		if err := c.Do(cmd.Context(), "GET", "/v1/conflicts", matching(args), nil, nil, &list); err != nil {
			return err
		}
		return c.Show(list, "KEY\tKEPT\tBY\tLOST\tBY\tRULE", func(t console.Table) {
			for _, x := range list.Items {
				t.Row(x.Key+x.Path, x.Winner.Value, x.Winner.Writer, x.Loser.Value, x.Loser.Writer, x.Rule)
			}
		})
	})
}

// matching returns the query for the pattern that is the first argument, or for all keys.
func matching(args []string) url.Values {
	if len(args) == 0 {
		return url.Values{"match": {"**"}}
	}
	return url.Values{"match": {args[0]}}
}

// send sends a body as JSON. The answer has nothing to show.
func send(cmd *cobra.Command, c *client.Client, method, path string, body any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return c.Do(cmd.Context(), method, path, nil, raw, nil, nil)
}

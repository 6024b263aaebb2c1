package data

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/command"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/console"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/hold"
)

// newQueue returns the group of the commands about work queues.
func newQueue(c *client.Client) *cobra.Command {
	return command.Group("queue", "Work queues: enqueue items, claim and finish them",
		newQueuePut(c), hold.NewWork(c), newQueueClaim(c), newQueueFinish(c, "complete"), newQueueFinish(c, "fail"), newQueueFinish(c, "extend"),
		newQueueDepth(c), newQueuePeek(c), newQueueGet(c),
		newQueueSet(c, "pause", "Stop claims until resume"), newQueueSet(c, "resume", "End a pause or a drain"),
		newQueueSet(c, "drain", "Refuse new items until resume"),
		newQueuePurge(c), newQueueRequeue(c))
}

func newQueuePut(c *client.Client) *cobra.Command {
	var id string
	var priority, attempts, replicas int
	var delay time.Duration
	cmd := &cobra.Command{
		Use: "put QUEUE VALUE", Short: "Enqueue a JSON value or text (- reads it from standard input), and print the item's id; says so if the id is not new",
		Example: "  sentinel-peer queue put mail '{\"to\":\"ada\"}' --id mail-7 --priority 5",
		Args:    command.Args(cobra.ExactArgs(2)),
	}
	f := cmd.Flags()
	f.StringVar(&id, "id", "", "id of the item, which is enqueued only once; empty for a new one")
	f.IntVar(&priority, "priority", 0, "items with a greater priority come first")
	f.IntVar(&attempts, "max-attempts", 0, "how often the item is tried; 0 for the daemon's setting")
	f.IntVar(&replicas, "replicas", 0, "wait until this many other peers have the item")
	f.DurationVar(&delay, "delay", 0, "time before the item may be claimed")
	return c.Command(cmd, func(cmd *cobra.Command, args []string) error {
		value, err := command.TypedValue(args[1])
		if err != nil {
			return err
		}
		body, err := json.Marshal(map[string]any{"value": value, "id": id, "priority": priority, "max_attempts": attempts, "delay": delay.String()})
		if err != nil {
			return err
		}
		q := url.Values{}
		if replicas > 0 {
			q.Set("replicas", fmt.Sprint(replicas))
		}
		var got api.Enqueued
		if err := c.Do(cmd.Context(), "POST", client.QueuePath(args[0], "items"), q, body, nil, &got); err != nil {
			return err
		}
		if got.Duplicate {
			console.Tell("item %q was there already: nothing was enqueued", got.ID)
		}
		if c.Output != "table" {
			return c.Show(got, "", nil)
		}
		_, err = fmt.Fprintln(c.Out, got.ID)
		return err
	})
}

func newQueueClaim(c *client.Client) *cobra.Command {
	var wait, ttl time.Duration
	var most int
	cmd := &cobra.Command{
		Use: "claim QUEUE", Short: "Claim items, and print them with their lease and token as JSON; exit 3 if there is none",
		Example: "  sentinel-peer queue claim mail --wait 30s -o ndjson",
		Args:    command.Args(cobra.ExactArgs(1)),
	}
	f := cmd.Flags()
	f.DurationVar(&wait, "wait", 0, "how long to wait for an item")
	f.DurationVar(&ttl, "ttl", 10*time.Second, "how long the claim lasts unless it is extended")
	f.IntVar(&most, "max", 1, "greatest number of items to claim")
	return c.Command(cmd, func(cmd *cobra.Command, args []string) error {
		c.Timeout += wait
		body := fmt.Appendf(nil, `{"wait":%q,"ttl":%q,"max":%d}`, wait, ttl, most)
		var got api.List[api.Claimed]
		if err := c.Do(cmd.Context(), "POST", client.QueuePath(args[0], "claim"), nil, body, nil, &got); err != nil {
			return err
		}
		if len(got.Items) == 0 {
			return command.Exit(api.ExitNotFound, fmt.Errorf("queue %q: nothing to claim", args[0]))
		}
		e := json.NewEncoder(c.Out)
		for _, item := range got.Items {
			if c.Output != "ndjson" {
				e.SetIndent("", "  ")
			}
			if err := e.Encode(item); err != nil {
				return err
			}
		}
		return nil
	})
}

// newQueueFinish returns the complete, fail or extend command, which name a claim.
func newQueueFinish(c *client.Client, verb string) *cobra.Command {
	cmd := map[string]*cobra.Command{
		"complete": {Use: "complete QUEUE ID [RESULT]", Short: "Finish a claim; exit 4 if the claim is not valid any more", Args: command.Args(cobra.RangeArgs(2, 3))},
		"fail":     {Use: "fail QUEUE ID [ERROR]", Short: "Report a failure: the item is tried again later, or is dead after its last attempt", Args: command.Args(cobra.RangeArgs(2, 3))},
		"extend":   {Use: "extend QUEUE ID", Short: "Extend a claim by its TTL", Args: command.Args(cobra.ExactArgs(2))},
	}[verb]
	cmd.Example = "  sentinel-peer queue " + verb + " mail mail-7 --lease $LEASE --token $TOKEN"
	var lease, retry string
	var token uint64
	f := cmd.Flags()
	f.StringVar(&lease, "lease", "", "the lease that claim printed")
	f.Uint64Var(&token, "token", 0, "the token that claim printed")
	if verb == "fail" {
		f.StringVar(&retry, "retry", "", "time until the next attempt, instead of the back-off; or never")
	}
	return c.Command(cmd, func(cmd *cobra.Command, args []string) error {
		if lease == "" || token == 0 {
			return command.Usage(errors.New("want --lease and --token, as 'queue claim' printed them"))
		}
		body := map[string]any{"lease": lease, "token": token}
		if retry != "" {
			body["retry"] = retry
		}
		if len(args) > 2 && verb == "fail" {
			body["error"] = args[2]
		}
		if len(args) > 2 && verb == "complete" {
			result, err := command.JSONOrText(args[2])
			if err != nil {
				return err
			}
			body["result"] = result
		}
		return send(cmd, c.Bearer(), "POST", client.QueuePath(args[0], "items", args[1], verb), body)
	})
}

func newQueueDepth(c *client.Client) *cobra.Command {
	return c.Command(&cobra.Command{
		Use: "depth QUEUE", Short: "Count the items by their state", Example: "  sentinel-peer queue depth mail", Args: command.Args(cobra.ExactArgs(1)),
	}, func(cmd *cobra.Command, args []string) error {
		var d workqueue.Depth
		if err := c.Do(cmd.Context(), "GET", client.QueuePath(args[0]), nil, nil, nil, &d); err != nil {
			return err
		}
		return c.Show(d, "PENDING\tDELAYED\tCLAIMED\tDONE\tDEAD", func(t console.Table) {
			t.Row(d.Pending, d.Delayed, d.Claimed, d.Done, d.Dead)
		})
	})
}

func newQueuePeek(c *client.Client) *cobra.Command {
	limit, state := 10, ""
	cmd := &cobra.Command{
		Use: "peek QUEUE", Short: "Show the items that are claimed next, or those in one state", Example: "  sentinel-peer queue peek mail --state dead", Args: command.Args(cobra.ExactArgs(1)),
	}
	cmd.Flags().IntVar(&limit, "limit", limit, "greatest number of items to show")
	cmd.Flags().StringVar(&state, "state", "", "show the items in this state, by id: pending, delayed, claimed, done, dead, or all")
	return c.Command(cmd, func(cmd *cobra.Command, args []string) error {
		query := url.Values{"limit": {fmt.Sprint(limit)}}
		if state != "" {
			query.Set("state", state)
		}
		var got api.List[workqueue.Item]
		if err := c.Do(cmd.Context(), "GET", client.QueuePath(args[0], "items"), query, nil, nil, &got); err != nil {
			return err
		}
		return c.Show(got, "ID\tSTATE\tPRIORITY\tATTEMPT\tVALUE\tERROR", func(t console.Table) {
			for _, i := range got.Items {
				t.Row(i.ID, i.State, i.Priority, i.Attempt, i.Value, i.Error)
			}
		})
	})
}

func newQueueGet(c *client.Client) *cobra.Command {
	return c.Command(&cobra.Command{
		Use: "get QUEUE ID", Short: "Print an item in any state, with its result, as JSON", Example: "  sentinel-peer queue get mail mail-7", Args: command.Args(cobra.ExactArgs(2)),
	}, func(cmd *cobra.Command, args []string) error {
		return c.Print(cmd, client.QueuePath(args[0], "items", args[1]))
	})
}

func newQueueSet(c *client.Client, verb, short string) *cobra.Command {
	return c.Command(&cobra.Command{
		Use: verb + " QUEUE", Short: short, Example: "  sentinel-peer queue " + verb + " mail", Args: command.Args(cobra.ExactArgs(1)),
	}, func(cmd *cobra.Command, args []string) error {
		return c.Do(cmd.Context(), "POST", client.QueuePath(args[0], verb), nil, nil, nil, nil)
	})
}

func newQueuePurge(c *client.Client) *cobra.Command {
	var states []string
	cmd := &cobra.Command{
		Use: "purge QUEUE", Short: "Remove the items that are pending, delayed or dead, and print how many",
		Example: "  sentinel-peer queue purge mail --state dead", Args: command.Args(cobra.ExactArgs(1)),
	}
	cmd.Flags().StringSliceVar(&states, "state", nil, "remove only the items in this state: pending, delayed, done or dead; may be repeated")
	return c.Command(cmd, func(cmd *cobra.Command, args []string) error {
		return changed(c, cmd, "DELETE", client.QueuePath(args[0]), url.Values{"state": states}, nil)
	})
}

func newQueueRequeue(c *client.Client) *cobra.Command {
	return c.Command(&cobra.Command{
		Use: "requeue QUEUE [ID...]", Short: "Try dead items again, all or the named ones, and print how many",
		Example: "  sentinel-peer queue requeue mail", Args: command.Args(cobra.MinimumNArgs(1)),
	}, func(cmd *cobra.Command, args []string) error {
		body := []byte("{}")
		if len(args) > 1 {
			quoted, err := json.Marshal(args[1:])
			if err != nil {
				return err
			}
			body = []byte(strings.Join([]string{`{"ids":`, `}`}, string(quoted)))
		}
		return changed(c, cmd, "POST", client.QueuePath(args[0], "requeue"), nil, body)
	})
}

// changed sends a request and prints how many items it changed.
func changed(c *client.Client, cmd *cobra.Command, method, path string, query url.Values, body []byte) error {
	var got api.Changed
	if err := c.Do(cmd.Context(), method, path, query, body, nil, &got); err != nil {
		return err
	}
	_, err := fmt.Fprintln(c.Out, got.Changed)
	return err
}

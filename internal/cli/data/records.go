package data

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/command"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/console"
)

// fields returns a JSON object made of arguments. Each is FIELD=VALUE, where a value that is not
// JSON is text; or the only argument is a JSON object.
func fields(list []string) (json.RawMessage, error) {
	if len(list) == 1 && strings.HasPrefix(strings.TrimSpace(list[0]), "{") {
		var object json.RawMessage
		if err := json.Unmarshal([]byte(list[0]), &object); err != nil {
			return nil, command.Usage(fmt.Errorf("want FIELD=VALUE, or one valid JSON object: %w", err))
		}
		return object, nil
	}
	object := make(map[string]json.RawMessage, len(list))
	for _, arg := range list {
		name, value, ok := strings.Cut(arg, "=")
		if !ok || name == "" {
			return nil, command.Usage(fmt.Errorf("%q: want FIELD=VALUE, or one JSON object", arg))
		}
		v, err := command.JSONOrText(value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		object[name] = v
	}
	raw, err := json.Marshal(object)
	return raw, err
}

func newTask(c *client.Client) *cobra.Command {
	list := c.Command(&cobra.Command{
		Use: "list", Short: "List the tasks", Example: "  sentinel-peer task list", Args: command.Args(cobra.NoArgs),
	}, func(cmd *cobra.Command, _ []string) error {
		all, err := client.Everything[api.Task](cmd.Context(), c, "/v1/tasks", url.Values{})
		if err != nil {
			return err
		}
		return c.Show(all, "TASK\tSTATUS\tWORKER\tPROGRESS", func(t console.Table) {
			for _, task := range all.Items {
				var state, progress any
				if task.State != nil {
					state = task.State.Any()
				}
				if task.Progress != nil {
					progress = task.Progress.Any()
				}
				t.Row(task.ID, field(state, "status"), field(state, "worker"), field(progress, "progress"))
			}
		})
	})
	get := c.Command(&cobra.Command{
		Use: "get ID", Short: "Print a task's state, progress and agents as JSON", Example: "  sentinel-peer task get 42", Args: command.Args(cobra.ExactArgs(1)),
	}, func(cmd *cobra.Command, args []string) error {
		return c.Print(cmd, client.KeyPath("/v1/tasks/", args[0]))
	})
	set := c.Command(&cobra.Command{
		Use: "set ID FIELD=VALUE...", Short: "Merge fields into a task's state; null removes a field",
		Example: "  sentinel-peer task set 42 status=running worker=w7\n  sentinel-peer task set 42 '{\"labels\": [\"gpu\"]}'",
		Args:    command.Args(cobra.MinimumNArgs(2)),
	}, func(cmd *cobra.Command, args []string) error {
		body, err := fields(args[1:])
		if err != nil {
			return err
		}
		return send(cmd, c, "PATCH", client.KeyPath("/v1/tasks/", args[0])+"/state", body)
	})
	progress := c.Command(&cobra.Command{
		Use: "progress ID N [STATUS]", Short: "Record the progress of a task", Example: "  sentinel-peer task progress 42 0.5 decoding", Args: command.Args(cobra.RangeArgs(2, 3)),
	}, func(cmd *cobra.Command, args []string) error {
		if err := command.AnyNumber("N", args[1]); err != nil {
			return err
		}
		object := map[string]any{"progress": json.RawMessage(args[1])}
		if len(args) > 2 {
			object["status"] = args[2]
		}
		return send(cmd, c, "PUT", client.KeyPath("/v1/tasks/", args[0])+"/progress", object)
	})
	remove := c.Command(&cobra.Command{
		Use: "delete ID", Short: "Delete a task's state, progress and agents", Example: "  sentinel-peer task delete 42", Args: command.Args(cobra.ExactArgs(1)),
	}, func(cmd *cobra.Command, args []string) error {
		return c.Do(cmd.Context(), "DELETE", client.KeyPath("/v1/tasks/", args[0]), nil, nil, nil, nil)
	})
	return command.Group("task", "Show and change tasks", list, get, set, progress, remove)
}

// field returns a field of a decoded object as text.
func field(object any, name string) string {
	m, _ := object.(map[string]any)
	if v, ok := m[name]; ok {
		return fmt.Sprint(v)
	}
	return "-"
}

func newWorker(c *client.Client) *cobra.Command {
	var state string
	var free int
	var labels []string
	list := &cobra.Command{
		Use: "list", Short: "List the workers, and whether each is active, unreachable or gone",
		Example: "  sentinel-peer worker list --state active --free 1 --label gpu", Args: command.Args(cobra.NoArgs),
	}
	list.Flags().StringVar(&state, "state", "", "list only workers in this state: active, unreachable or gone")
	list.Flags().IntVar(&free, "free", 0, "list only workers that have room for this many more tasks")
	list.Flags().StringSliceVar(&labels, "label", nil, "list only workers with this label; may be repeated")
	c.Command(list, func(cmd *cobra.Command, _ []string) error {
		q := url.Values{"label": labels}
		if state != "" {
			q.Set("state", state)
		}
		if free != 0 {
			q.Set("free", fmt.Sprint(free))
		}
		all, err := client.Everything[api.Worker](cmd.Context(), c, "/v1/workers", q)
		if err != nil {
			return err
		}
		return c.Show(all, "WORKER\tSTATE\tHOST\tSTATUS\tRUNNING\tCAPACITY\tLABELS", func(t console.Table) {
			for _, x := range all.Items {
				t.Row(x.ID, x.State, x.Host, x.Status, x.Running, x.Capacity, strings.Join(x.Labels, ","))
			}
		})
	})
	get := c.Command(&cobra.Command{
		Use: "get ID", Short: "Print a worker as JSON", Example: "  sentinel-peer worker get w7", Args: command.Args(cobra.ExactArgs(1)),
	}, func(cmd *cobra.Command, args []string) error {
		return c.Print(cmd, client.KeyPath("/v1/workers/", args[0]))
	})
	status := c.Command(&cobra.Command{
		Use: "status ID FIELD=VALUE...", Short: "Record the status of a worker",
		Example: "  sentinel-peer worker status w7 status=busy running=1 'labels=[\"gpu\"]'", Args: command.Args(cobra.MinimumNArgs(2)),
	}, func(cmd *cobra.Command, args []string) error {
		body, err := fields(args[1:])
		if err != nil {
			return err
		}
		return send(cmd, c, "PUT", client.KeyPath("/v1/workers/", args[0])+"/status", body)
	})
	capacity := c.Command(&cobra.Command{
		Use: "capacity ID N", Short: "Record how many tasks a worker takes at once", Example: "  sentinel-peer worker capacity w7 4", Args: command.Args(cobra.ExactArgs(2)),
	}, func(cmd *cobra.Command, args []string) error {
		if err := command.WholeNumber("N", args[1]); err != nil {
			return err
		}
		return send(cmd, c, "PUT", client.KeyPath("/v1/workers/", args[0])+"/capacity", map[string]any{"capacity": json.RawMessage(args[1])})
	})
	var ttl time.Duration
	beat := &cobra.Command{
		Use: "heartbeat ID", Short: "Report that a worker beside this daemon is alive",
		Example: "  while kill -0 $PID; do sentinel-peer worker heartbeat w7; sleep 5; done", Args: command.Args(cobra.ExactArgs(1)),
	}
	beat.Flags().DurationVar(&ttl, "ttl", 30*time.Second, "the worker is active for this time unless it reports again")
	c.Command(beat, func(cmd *cobra.Command, args []string) error {
		return send(cmd, c, "POST", client.KeyPath("/v1/workers/", args[0])+"/heartbeat", map[string]any{"ttl": ttl.String()})
	})
	remove := c.Command(&cobra.Command{
		Use: "remove ID", Short: "Remove a worker", Example: "  sentinel-peer worker remove w7", Args: command.Args(cobra.ExactArgs(1)),
	}, func(cmd *cobra.Command, args []string) error {
		return c.Do(cmd.Context(), "DELETE", client.KeyPath("/v1/workers/", args[0]), nil, nil, nil, nil)
	})
	return command.Group("worker", "Show workers, and report for one", list, get, status, capacity, beat, remove)
}

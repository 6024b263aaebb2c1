package status

import (
	"encoding/json"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/command"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/console"
)

func newMembers(c *client.Client) *cobra.Command {
	return c.Command(&cobra.Command{
		Use: "members", Short: "List the peers", Example: "  sentinel-peer members -o json", Args: command.Args(cobra.NoArgs),
	}, func(cmd *cobra.Command, _ []string) error {
		var list api.List[api.Member]
		if err := c.Do(cmd.Context(), "GET", "/v1/members", nil, nil, nil, &list); err != nil {
			return err
		}
		return c.Show(list, "NAME\tSTATE\tADDR\tHTTP\tLAG\tPACKETS\tPROBLEMS", func(t console.Table) {
			for _, m := range list.Items {
				name := m.Name
				if m.Self {
					name += " (this)"
				}
				t.Row(name, m.State, m.Addr, m.HTTP, m.Lag, passage(m.Packets), strings.Join(m.Problems, ", "))
			}
		})
	})
}

func newStats(c *client.Client) *cobra.Command {
	return c.Command(&cobra.Command{
		Use: "stats", Short: "Print counters and gauges of the daemon's peer", Example: "  sentinel-peer stats", Args: command.Args(cobra.NoArgs),
	}, func(cmd *cobra.Command, _ []string) error {
		var v json.RawMessage
		if err := c.Do(cmd.Context(), "GET", "/v1/stats", nil, nil, nil, &v); err != nil {
			return err
		}
		if c.Output == "table" {
			c.Output = "json"
		}
		return c.Show(v, "", nil)
	})
}

func newForget(c *client.Client) *cobra.Command {
	return c.Command(&cobra.Command{
		Use: "forget NAME", Short: "Give up on a peer that is down, and free what only waits for it; run it on every daemon",
		Long: `Give up on a peer that is down: this daemon's peer does not list it any more, and frees
		what only waits for it. Each peer decides that for itself, so run the command on every daemon.`,
		Example: "  sentinel-peer forget n3", Args: command.Args(cobra.ExactArgs(1)),
	}, func(cmd *cobra.Command, list []string) error {
		body, err := json.Marshal(map[string]string{"name": list[0]})
		if err != nil {
			return err
		}
		return c.Do(cmd.Context(), "POST", "/v1/forget", nil, body, nil, nil)
	})
}

// passage returns in a word or two whether UDP packets pass.
func passage(p agent.Packets) string {
	switch {
	case p == agent.Packets{}:
		return "-"
	case p.To == p.From:
		return p.To
	case p.To == "blocked":
		return "blocked to it"
	case p.From == "blocked":
		return "blocked from it"
	}
	return "unknown"
}

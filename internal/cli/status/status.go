package status

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/command"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/console"
)

func newStatus(c *client.Client) *cobra.Command {
	var self bool
	cmd := &cobra.Command{
		Use: "status", Short: "Show on one screen whether the cluster is healthy; exit 8 if not",
		Long: `Show on one screen whether the cluster is healthy, as the daemon's peer sees it; and if
		not, why, and what to do next. The cluster is unhealthy, and the exit code is 8, when something
		that was promised does not work: this peer is not ready, another peer is down or silent, clocks
		or rules differ, no majority of voters answers, or no majority would be left if one more voter
		stopped. Warnings leave the exit code at 0: UDP blocked, dead items, failed tasks, workers that
		went while they had tasks. In a rolling restart, go on to the next peer when the exit code is 0:
		some 20 s after the restart of a voter.

		--self asks about this peer alone, and needs no token. It is for health checks, which must not
		stop a peer because another one is down. It also fails while a voter that has restarted does not
		yet know all leases again, so that a rollout waits.`,
		Example: "  sentinel-peer status\n  sentinel-peer status --self --timeout 2s",
		Args:    command.Args(cobra.NoArgs),
	}
	cmd.Flags().BoolVar(&self, "self", false, "show only whether this peer is up and ready, and the next one may be restarted")
	return c.Command(cmd, func(cmd *cobra.Command, _ []string) error {
		if self {
			return selfStatus(c, cmd)
		}
		l, err := LookAt(cmd.Context(), c)
		if err != nil {
			return err
		}
		if c.Output != "table" {
			err = c.Show(l, "", nil)
		} else {
			console.Paint(c.Out, verdictColor(l.Healthy), console.Visible(l.Sentence(), ""))
			fmt.Fprintln(c.Out)
			err = l.Write(c.Out, time.Now())
		}
		if err == nil && !l.Healthy {
			err = command.Unhealthy(command.ErrShown)
		}
		return err
	})
}

func selfStatus(c *client.Client, cmd *cobra.Command) error {
	err := c.Ready(cmd.Context())
	if _, coded := errors.AsType[*command.ExitError](err); err != nil && !coded {
		err = command.Unhealthy(err)
	}
	if err == nil {
		err = c.Show(map[string]bool{"healthy": true}, "healthy: this peer is up and ready", func(console.Table) {})
	}
	return err
}

func verdictColor(good bool) string {
	if good {
		return console.Green
	}
	return console.Red
}

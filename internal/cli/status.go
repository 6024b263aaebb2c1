package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/spf13/cobra"
)

func (c *client) status(add register) *cobra.Command {
	var self bool
	cmd := &cobra.Command{
		Use: "status", Short: "Say on one screen whether the cluster is well; exit 8 if not",
		Long: `Say on one screen whether the cluster is well, as the daemon's peer sees it, and if not
why, and what to do next. It is unhealthy, and the exit code 8, when something that was promised does
not work: this peer is not ready, another one is down or silent, clocks or rules differ, no
majority of voters answers, or one would be missing if one more stopped. Warnings (UDP blocked, dead items,
failed tasks, workers gone with work in hand) leave the code at 0. In a rolling restart, go on
to the next peer when it is 0: some 20 s after the restart of a voter.

--self asks this peer alone, and needs no token: for health checks, which must not end a
peer because another one is down. It fails as well while a voter that has restarted does not know all
leases again, so that a rollout waits.`,
		Example: "  sentinel-peer status\n  sentinel-peer status --self --timeout 2s",
		Args:    args(cobra.NoArgs),
	}
	cmd.Flags().BoolVar(&self, "self", false, "only whether this peer is up and ready, and the next one may be restarted")
	return add(cmd, func(cmd *cobra.Command, _ []string) error {
		if self {
			return c.selfStatus(cmd)
		}
		l, err := c.look(cmd.Context())
		if err != nil {
			return err
		}
		if c.output != "table" {
			err = c.show(l, "", nil)
		} else {
			paint(c.out, verdictColor(l.Healthy), visible(l.sentence(), ""))
			fmt.Fprintln(c.out)
			err = l.write(c.out, time.Now())
		}
		if err == nil && !l.Healthy {
			err = unhealthy(errShown)
		}
		return err
	})
}

func (c *client) selfStatus(cmd *cobra.Command) error {
	err := c.own(cmd.Context())
	if _, coded := errors.AsType[*exitError](err); err != nil && !coded {
		err = unhealthy(err)
	}
	if err == nil {
		err = c.show(map[string]bool{"healthy": true}, "healthy: this peer is up and ready", func(table) {})
	}
	return err
}

func unhealthy(err error) error { return &exitError{api.ExitUnhealthy, err} }

func verdictColor(good bool) string {
	if good {
		return green
	}
	return red
}

func (c *client) forget(add register) *cobra.Command {
	return add(&cobra.Command{
		Use: "forget NAME", Short: "Give up on a peer that is down: what only waits for it is freed; on every daemon",
		Long: `Give up on a peer that is down: this daemon's peer lists it no more, and frees what only
waits for it. Each peer decides that for itself: run it on every daemon.`,
		Example: "  sentinel-peer forget n3", Args: args(cobra.ExactArgs(1)),
	}, func(cmd *cobra.Command, list []string) error {
		body, err := json.Marshal(map[string]string{"name": list[0]})
		if err != nil {
			return err
		}
		return c.do(cmd.Context(), "POST", "/v1/forget", nil, body, nil, nil)
	})
}

package data

import (
	"cmp"
	"context"
	"errors"
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

func newLocks(c *client.Client) *cobra.Command {
	return c.Command(&cobra.Command{
		Use: "locks [NAME]", Short: "List the cluster's locks, or show one: its holders and waiters; exit 8 if no majority of voters confirms it",
		Example: "  sentinel-peer locks\n  sentinel-peer locks nightly -o json", Args: command.Args(cobra.MaximumNArgs(1)),
	}, func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			return inspect(cmd.Context(), c, args[0])
		}
		all, err := allLocks(cmd.Context(), c)
		if err != nil {
			return err
		}
		err = c.Show(all, lockColumns, func(t console.Table) {
			for _, l := range all.Items {
				printLock(t, l, "-")
			}
		})
		if err == nil && !all.Certain {
			err = command.Unhealthy(errors.New("no majority of voters answers: there may be more locks, and holders that are not shown"))
		}
		return errors.Join(err, unknown(all.Unknown))
	})
}

// allLocks reads all pages of the list of locks and returns them as one.
func allLocks(ctx context.Context, c *client.Client) (all api.LockList, err error) {
	all.Items = []api.LockEntry{}
	query := url.Values{}
	for {
		page := api.LockList{}
		if err := c.Do(ctx, "GET", "/v1/locks", query, nil, nil, &page); err != nil {
			return all, err
		}
		page.Items = append(all.Items, page.Items...)
		if all = page; page.Next == "" {
			return all, nil
		}
		query.Set("after", page.Next)
	}
}

const lockColumns = "LOCK\tPEER\tCLIENT\tTOKEN\tMODE\tSINCE\tREMAINING"

// printLock prints a row for each holder and waiter of a lock. Without a holder, nobody is
// shown in its place.
func printLock(t console.Table, l api.LockEntry, nobody string) {
	since := func(at time.Time) string { return max(time.Since(at), 0).Round(time.Second).String() + " ago" }
	for _, h := range l.Holders {
		t.Row(l.Lock, h.Peer, cmp.Or(h.Client, "-"), h.Token, mode(h.Shared), since(h.Since), h.Remaining)
	}
	if len(l.Holders) == 0 {
		t.Row(l.Lock, nobody, "-", "-", "-", "-", "-")
	}
	for _, w := range l.Waiters {
		t.Row(l.Lock, w.Peer, cmp.Or(w.Client, "-"), "waits", mode(w.Shared), since(w.Since), "-")
	}
	if l.More > 0 {
		t.Row(l.Lock, fmt.Sprintf("and %d more", l.More), "-", "-", "-", "-", "-")
	}
}

// unknown warns of peers whose clients are not shown.
func unknown(peers []string) error {
	if len(peers) == 0 {
		return nil
	}
	_, err := fmt.Fprintf(console.Stderr, "%s: unreachable, so the clients of these peers are not shown\n", strings.Join(peers, ", "))
	return err
}

func inspect(ctx context.Context, c *client.Client, name string) error {
	var info api.LockInfo
	if err := c.Do(ctx, "GET", client.KeyPath("/v1/locks/", name), nil, nil, nil, &info); err != nil {
		return err
	}
	nobody := "-"
	if info.Source == "here" {
		nobody = "unknown"
	}
	err := c.Show(info, lockColumns, func(t console.Table) { printLock(t, info.LockEntry, nobody) })
	if err == nil && info.Source == "here" {
		err = command.Unhealthy(fmt.Errorf("%s: only the records of the daemon's peer are shown, and somebody else may hold the lock", info.Why))
	}
	return errors.Join(err, unknown(info.Unknown))
}

func mode(shared bool) string {
	if shared {
		return "shared"
	}
	return "exclusive"
}

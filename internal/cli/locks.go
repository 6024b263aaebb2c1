package cli

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
)

func (c *client) locks(add register) *cobra.Command {
	return add(&cobra.Command{
		Use: "locks [NAME]", Short: "List the locks of the cluster, or show one: who holds it and who waits; exit 8 if no majority of voters says so",
		Example: "  sentinel-peer locks\n  sentinel-peer locks nightly -o json", Args: args(cobra.MaximumNArgs(1)),
	}, func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			return c.inspectLock(cmd.Context(), args[0])
		}
		all, err := c.allLocks(cmd.Context())
		if err != nil {
			return err
		}
		err = c.show(all, lockColumns, func(t table) {
			for _, l := range all.Items {
				t.lock(l, "-")
			}
		})
		if err == nil && !all.Certain {
			err = unhealthy(errors.New("no majority of voters answers: there may be more locks, and holders that are not shown"))
		}
		return errors.Join(err, unknown(all.Unknown))
	})
}

// allLocks returns all pages as one.
func (c *client) allLocks(ctx context.Context) (all api.LockList, err error) {
	all.Items = []api.LockEntry{}
	query := url.Values{}
	for {
		page := api.LockList{}
		if err := c.do(ctx, "GET", "/v1/locks", query, nil, nil, &page); err != nil {
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

// lock prints a lock, with nobody as its holder if it has none.
func (t table) lock(l api.LockEntry, nobody string) {
	since := func(at time.Time) string { return max(time.Since(at), 0).Round(time.Second).String() + " ago" }
	for _, h := range l.Holders {
		t.row(l.Lock, h.Peer, cmp.Or(h.Client, "-"), h.Token, mode(h.Shared), since(h.Since), h.Remaining)
	}
	if len(l.Holders) == 0 {
		t.row(l.Lock, nobody, "-", "-", "-", "-", "-")
	}
	for _, w := range l.Waiters {
		t.row(l.Lock, w.Peer, cmp.Or(w.Client, "-"), "waits", mode(w.Shared), since(w.Since), "-")
	}
	if l.More > 0 {
		t.row(l.Lock, fmt.Sprintf("and %d more", l.More), "-", "-", "-", "-", "-")
	}
}

// unknown says whose clients are not shown.
func unknown(peers []string) error {
	if len(peers) == 0 {
		return nil
	}
	_, err := fmt.Fprintf(stderr, "%s: unreachable, its clients are not known\n", strings.Join(peers, ", "))
	return err
}

func (c *client) inspectLock(ctx context.Context, name string) error {
	var info api.LockInfo
	if err := c.do(ctx, "GET", keyPath("/v1/locks/", name), nil, nil, nil, &info); err != nil {
		return err
	}
	nobody := "-"
	if info.Source == "here" {
		nobody = "unknown"
	}
	err := c.show(info, lockColumns, func(t table) { t.lock(info.LockEntry, nobody) })
	if err == nil && info.Source == "here" {
		err = unhealthy(fmt.Errorf("%s: this is what the daemon's peer alone has on record, and somebody may hold it", info.Why))
	}
	return errors.Join(err, unknown(info.Unknown))
}

func mode(shared bool) string {
	if shared {
		return "shared"
	}
	return "exclusive"
}

package data

import (
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/command"
)

// completeKeys offers the daemon's keys that begin as typed, one segment at a time, as a shell
// does with folders.
func completeKeys(c *client.Client) cobra.CompletionFunc {
	return func(cmd *cobra.Command, done []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(done) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		keys, err := beginning(c, cmd, typed)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		seen := make(map[string]bool)
		var offers []string
		for _, key := range keys {
			if i := strings.IndexByte(key[len(typed):], '/'); i >= 0 {
				key = key[:len(typed)+i+1]
			}
			if !seen[key] {
				seen[key] = true
				offers = append(offers, key)
			}
		}
		return offers, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
}

// beginning lists the keys that begin with a prefix, at most one page of them. It gives up after
// 300 ms, since a user waits for the completion.
func beginning(c *client.Client, cmd *cobra.Command, prefix string) ([]string, error) {
	if err := command.Settle(cmd, ""); err != nil {
		return nil, err
	}
	if err := c.Prepare(cmd.Context()); err != nil {
		return nil, err
	}
	c.Timeout = 300 * time.Millisecond
	if strings.ContainsAny(prefix, `*?[]{}\`) {
		return nil, nil
	}
	folder := prefix[:strings.LastIndexByte(prefix, '/')+1]
	var page api.List[api.Key]
	if err := c.Do(cmd.Context(), "GET", "/v1/keys", url.Values{"match": {folder + "**"}}, nil, nil, &page); err != nil {
		return nil, err
	}
	var keys []string
	for _, k := range page.Items {
		if strings.HasPrefix(k.Key, prefix) {
			keys = append(keys, k.Key)
		}
	}
	return keys, nil
}

package cli

import (
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

// shells are those that completions are made for.
var shells = map[string]func(root *cobra.Command) error{
	"bash":       func(root *cobra.Command) error { return root.GenBashCompletionV2(root.OutOrStdout(), true) },
	"zsh":        func(root *cobra.Command) error { return root.GenZshCompletion(root.OutOrStdout()) },
	"fish":       func(root *cobra.Command) error { return root.GenFishCompletion(root.OutOrStdout(), true) },
	"powershell": func(root *cobra.Command) error { return root.GenPowerShellCompletionWithDesc(root.OutOrStdout()) },
}

func newCompletion() *cobra.Command {
	return &cobra.Command{
		Use: "completion bash|zsh|fish|powershell", Short: "Print what makes a shell complete command lines",
		Example: `  source <(sentinel-peer completion bash)
  sentinel-peer completion zsh > "${fpath[1]}/_sentinel-peer"
  sentinel-peer completion fish > ~/.config/fish/completions/sentinel-peer.fish`,
		Args:      args(cobra.ExactArgs(1)),
		ValidArgs: []string{"bash", "zsh", "fish", "powershell"},
		RunE: func(cmd *cobra.Command, list []string) error {
			print, known := shells[list[0]]
			if !known {
				return usage(fmt.Errorf("completion %q: want bash, zsh, fish or powershell", list[0]))
			}
			return print(cmd.Root())
		},
	}
}

func newMan() *cobra.Command {
	return &cobra.Command{
		Use: "man FOLDER", Short: "Write manual pages into a folder, which is made",
		Long: `Write a manual page for each command into a folder, which is made. They bear the date
of $SOURCE_DATE_EPOCH, if that is set.`,
		Example: "  sentinel-peer man ~/.local/share/man/man1",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			if err := os.MkdirAll(list[0], 0o755); err != nil {
				return usage(err)
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true
			header := &doc.GenManHeader{Section: "1", Source: "sentinel-peer " + version(), Manual: "sentinel-peer"}
			return doc.GenManTree(root, header, list[0])
		},
	}
}

// completeKeys offers the keys of the daemon that begin as typed, a segment at a time
// as a shell does with folders.
func (c *client) completeKeys(cmd *cobra.Command, done []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(done) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	keys, err := c.beginning(cmd, typed)
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

// beginning lists keys that begin with prefix, as many as one page holds, quickly or
// not at all.
func (c *client) beginning(cmd *cobra.Command, prefix string) ([]string, error) {
	if err := settle(cmd, ""); err != nil {
		return nil, err
	}
	if err := c.prepare(cmd.Context()); err != nil {
		return nil, err
	}
	c.timeout = 300 * time.Millisecond
	if strings.ContainsAny(prefix, `*?[]{}\`) {
		return nil, nil
	}
	folder := prefix[:strings.LastIndexByte(prefix, '/')+1]
	var page api.List[api.Key]
	if err := c.do(cmd.Context(), "GET", "/v1/keys", url.Values{"match": {folder + "**"}}, nil, nil, &page); err != nil {
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

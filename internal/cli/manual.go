package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/sentinel-peer/sentinel-peer/internal/cli/command"
)

// shells maps each shell to the function that writes its completion script.
var shells = map[string]func(root *cobra.Command) error{
	"bash":       func(root *cobra.Command) error { return root.GenBashCompletionV2(root.OutOrStdout(), true) },
	"zsh":        func(root *cobra.Command) error { return root.GenZshCompletion(root.OutOrStdout()) },
	"fish":       func(root *cobra.Command) error { return root.GenFishCompletion(root.OutOrStdout(), true) },
	"powershell": func(root *cobra.Command) error { return root.GenPowerShellCompletionWithDesc(root.OutOrStdout()) },
}

func newCompletion() *cobra.Command {
	return &cobra.Command{
		Use: "completion bash|zsh|fish|powershell", Short: "Print a script that completes command lines in a shell",
		Example: `  source <(sentinel-peer completion bash)
  sentinel-peer completion zsh > "${fpath[1]}/_sentinel-peer"
  sentinel-peer completion fish > ~/.config/fish/completions/sentinel-peer.fish`,
		Args:      command.Args(cobra.ExactArgs(1)),
		ValidArgs: []string{"bash", "zsh", "fish", "powershell"},
		RunE: func(cmd *cobra.Command, list []string) error {
			print, known := shells[list[0]]
			if !known {
				return command.Usage(fmt.Errorf("completion %q: want bash, zsh, fish or powershell", list[0]))
			}
			return print(cmd.Root())
		},
	}
}

func newMan(version string) *cobra.Command {
	return &cobra.Command{
		Use: "man FOLDER", Short: "Write manual pages into a folder",
		Long: `Write a manual page for each command into a folder. The folder is created if it
		does not exist. The pages bear the date of $SOURCE_DATE_EPOCH, if that is set.`,
		Example: "  sentinel-peer man ~/.local/share/man/man1",
		Args:    command.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			if err := os.MkdirAll(list[0], 0o755); err != nil {
				return command.Usage(err)
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true
			header := &doc.GenManHeader{Section: "1", Source: "sentinel-peer " + version, Manual: "sentinel-peer"}
			return doc.GenManTree(root, header, list[0])
		},
	}
}

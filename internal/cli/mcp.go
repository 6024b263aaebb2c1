package cli

import (
	"cmp"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sentinel-peer/sentinel-peer/internal/aside"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/command"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/console"
	"github.com/sentinel-peer/sentinel-peer/internal/mcpbridge"
)

func newMCP() *cobra.Command {
	var (
		c         client.Client
		tokenFile string
		logLevel  string
	)
	cmd := &cobra.Command{
		Use:   "mcp",
		Short: "Speak MCP on standard input and output, for a daemon",
		Long: `Speak the Model Context Protocol on standard input and output, as a client of a
		daemon. This is for programs that start MCP servers themselves; programs that
		speak HTTP can use the daemon's /mcp instead.

		The command keeps no data, and goes on when the daemon restarts.`,
		Example: `  sentinel-peer mcp
  claude mcp add claude-flow -- sentinel-peer mcp --http 127.0.0.1:7700`,
		Args: command.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			console.OutliveReaders()
			if err := command.Settle(cmd, ""); err != nil {
				return err
			}
			if err := command.Plausible(cmd.Flags()); err != nil {
				return err
			}
			var level slog.Level
			if err := level.UnmarshalText([]byte(logLevel)); err != nil {
				return command.Usage(fmt.Errorf("--log-level %q: want debug, info, warn or error", logLevel))
			}
			if err := cmp.Or(c.Prepare(cmd.Context()), c.Single()); err != nil {
				return err
			}
			if tokenFile != "" {
				token, err := aside.ReadFile(cmd.Context(), tokenFile)
				if err != nil {
					return command.Usage(fmt.Errorf("--token-file: %w", err))
				}
				c.Token = strings.TrimSpace(string(token.Text))
				if err := c.SealedToken(); err != nil {
					return err
				}
			}
			err := mcpbridge.Run(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout(), mcpbridge.Config{
				URL: c.Base() + "/mcp", Send: c.Send, Patience: c.Timeout,
				Logger: slog.New(slog.NewTextHandler(console.Stderr, &slog.HandlerOptions{Level: level})),
			})
			if cmd.Context().Err() != nil { // a signal asked the command to stop
				return nil
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.Addr, "http", client.DefaultHTTP, "address of the daemon's HTTP API, or its https:// URL")
	f.BoolVar(&c.PlainToken, "plain-token", false, "send the token without TLS beyond loopback: in a trusted network")
	f.StringVar(&c.CA, "tls-ca", "", "file with the certificate authority of the daemon, if the system does not trust it already")
	f.StringVar(&tokenFile, "token-file", "", "file with the token for the daemon (default: $"+client.TokenVariable+")")
	f.DurationVar(&c.Timeout, "timeout", 10*time.Second, "how long to wait for the daemon when a client initialises")
	f.StringVar(&logLevel, "log-level", "info", "least level of messages on standard error: debug, info, warn or error")
	return cmd
}

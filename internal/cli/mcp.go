package cli

import (
	"cmp"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sentinel-peer/sentinel-peer/internal/aside"
	"github.com/sentinel-peer/sentinel-peer/internal/mcpbridge"
)

func newMCP() *cobra.Command {
	var (
		c         client
		tokenFile string
		logLevel  string
	)
	cmd := &cobra.Command{
		Use:   "mcp",
		Short: "Speak MCP on standard input and output, for a daemon",
		Long: `Speak the Model Context Protocol on standard input and output as a client of a
daemon, for programs that start MCP servers themselves. Those that speak HTTP
can use the daemon's /mcp instead.

It keeps no data. A daemon that restarts does not end it.`,
		Example: `  sentinel-peer mcp
  claude mcp add claude-flow -- sentinel-peer mcp --http 127.0.0.1:7700`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			outliveReaders()
			if err := settle(cmd, ""); err != nil {
				return err
			}
			if err := plausible(cmd.Flags()); err != nil {
				return err
			}
			var level slog.Level
			if err := level.UnmarshalText([]byte(logLevel)); err != nil {
				return usage(fmt.Errorf("--log-level %q: want debug, info, warn or error", logLevel))
			}
			if err := cmp.Or(c.prepare(cmd.Context()), c.single()); err != nil {
				return err
			}
			if tokenFile != "" {
				token, err := aside.ReadFile(cmd.Context(), tokenFile)
				if err != nil {
					return usage(fmt.Errorf("--token-file: %w", err))
				}
				c.token = strings.TrimSpace(string(token.Text))
				if err := c.sealedToken(); err != nil {
					return err
				}
			}
			err := mcpbridge.Run(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout(), mcpbridge.Config{
				URL: c.base() + "/mcp", Send: c.send, Patience: c.timeout,
				Logger: slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level})),
			})
			if cmd.Context().Err() != nil { // it was asked to stop
				return nil
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.addr, "http", defaultHTTP, "address of the daemon's HTTP API, or its https:// URL")
	f.BoolVar(&c.plainToken, "plain-token", false, "send the token without TLS beyond loopback: in a trusted network")
	f.StringVar(&c.ca, "tls-ca", "", "file with the authority of the daemon's certificate, if the system does not know it")
	f.StringVar(&tokenFile, "token-file", "", "file with the token for the daemon (default: $"+tokenVariable+")")
	f.DurationVar(&c.timeout, "timeout", 10*time.Second, "how long a client that begins waits for the daemon")
	f.StringVar(&logLevel, "log-level", "info", "of what goes to standard error: debug, info, warn or error")
	return cmd
}

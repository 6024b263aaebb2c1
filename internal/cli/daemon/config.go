package daemon

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/command"
)

func newConfig() *cobra.Command {
	var d daemon
	var origin bool
	c := client.Client{}
	show := &cobra.Command{
		Use:   "show [flags of agent]",
		Short: "Print the settings that agent would run with",
		Long: `Print the settings that 'agent' would run with, given the same flags, environment and
		file. The output is a file for --config. With --origin, comments say where each value is
		from: flag, environment, file or default, of which the first that has a value counts.`,
		Example: "  sentinel-peer config show --origin --config /etc/sentinel-peer.yaml\n  sentinel-peer config show --cluster farm --name n1 > n1.yaml",
		Args:    command.Args(cobra.NoArgs),
	}
	f := show.Flags()
	d.flags(f)
	f.BoolVar(&origin, "origin", false, "say where each value is from")
	f.StringVarP(&c.Output, "output", "o", "yaml", "format of the output: yaml, json or ndjson")
	show.RunE = func(cmd *cobra.Command, _ []string) error {
		settings, err := effective(cmd.Context(), cmd.Flags(), d.config)
		if err != nil {
			return err
		}
		command.WarnOfStrays(cmd.Root())
		if _, err := parseLevel(d.logLevel); err != nil {
			return command.Usage(err)
		}
		if _, err := parseRules(d.rules); err != nil {
			return command.Usage(err)
		}
		c.Out = cmd.OutOrStdout()
		switch c.Output {
		case "yaml":
			return command.WriteYAML(c.Out, settings, origin)
		case "json":
			return c.Show(settings, "", nil)
		case "ndjson":
			for _, s := range settings {
				if err := c.Show(s, "", nil); err != nil {
					return err
				}
			}
			return nil
		}
		return command.Usage(fmt.Errorf("-o %q: want yaml, json or ndjson", c.Output))
	}
	return command.Group("config", "Show the daemon's settings", show)
}

// effective settles those of the flags that are the daemon's, and returns them with their values.
func effective(ctx context.Context, flags *pflag.FlagSet, file string) ([]command.Setting, error) {
	var d daemon
	ours := pflag.NewFlagSet("", pflag.ContinueOnError)
	d.flags(ours)
	daemons := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.VisitAll(func(f *pflag.Flag) {
		if ours.Lookup(f.Name) != nil {
			daemons.AddFlag(f)
		}
	})
	origins, err := settleDaemon(ctx, daemons, file)
	if err != nil {
		return nil, err
	}
	var list []command.Setting
	daemons.VisitAll(func(f *pflag.Flag) {
		if origin := origins[f.Name]; origin != "" {
			list = append(list, command.Setting{Name: f.Name, Value: command.ValueOf(f.Value), Origin: origin})
		}
	})
	return list, nil
}

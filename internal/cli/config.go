package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// setting is one setting of the daemon, and where it is from.
type setting struct {
	Name   string `json:"name"`
	Value  any    `json:"value"`
	Origin string `json:"origin"`
}

func newConfig() *cobra.Command {
	var d daemon
	var origin bool
	c := client{}
	show := &cobra.Command{
		Use:   "show [flags of agent]",
		Short: "Print the settings that agent would run with",
		Long: `Print the settings that 'agent' would run with, given the same flags, environment
and file. What is printed is a file for --config; with --origin, comments say where each
value is from: flag, environment, file or default, the first of them that has it.`,
		Example: "  sentinel-peer config show --origin --config /etc/sentinel-peer.yaml\n  sentinel-peer config show --cluster farm --name n1 > n1.yaml",
		Args:    args(cobra.NoArgs),
	}
	f := show.Flags()
	d.flags(f)
	f.BoolVar(&origin, "origin", false, "say where each value is from")
	f.StringVarP(&c.output, "output", "o", "yaml", "yaml, json or ndjson")
	show.RunE = func(cmd *cobra.Command, _ []string) error {
		settings, err := effective(cmd.Context(), cmd.Flags(), d.config)
		if err != nil {
			return err
		}
		warnOfStrays()
		if _, err := parseLevel(d.logLevel); err != nil {
			return usage(err)
		}
		if _, err := parseRules(d.rules); err != nil {
			return usage(err)
		}
		c.out = cmd.OutOrStdout()
		switch c.output {
		case "yaml":
			return c.showYAML(settings, origin)
		case "json":
			return c.show(settings, "", nil)
		case "ndjson":
			for _, s := range settings {
				if err := c.show(s, "", nil); err != nil {
					return err
				}
			}
			return nil
		}
		return usage(fmt.Errorf("-o %q: want yaml, json or ndjson", c.output))
	}
	return group("config", "Show the daemon's settings", show)
}

// effective returns the settings of the daemon among flags, which it settles.
func effective(ctx context.Context, flags *pflag.FlagSet, file string) ([]setting, error) {
	var d daemon
	ours := pflag.NewFlagSet("", pflag.ContinueOnError)
	d.flags(ours)
	daemons := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.VisitAll(func(f *pflag.Flag) {
		if ours.Lookup(f.Name) != nil {
			daemons.AddFlag(f)
		}
	})
	origins, err := settleFlags(ctx, daemons, file)
	if err != nil {
		return nil, err
	}
	var list []setting
	daemons.VisitAll(func(f *pflag.Flag) {
		if origin := origins[f.Name]; origin != "" {
			list = append(list, setting{f.Name, valueOf(f.Value), origin})
		}
	})
	return list, nil
}

// valueOf returns the value of a flag as JSON shows it.
func valueOf(v pflag.Value) any {
	if s, several := v.(pflag.SliceValue); several {
		return append([]string{}, s.GetSlice()...)
	}
	if v.Type() == "bool" {
		return v.String() == "true"
	}
	if n, err := strconv.ParseUint(v.String(), 10, 64); err == nil && (v.Type() == "uint64" || v.Type() == "int") {
		return n
	}
	return v.String()
}

func (c *client) showYAML(settings []setting, origin bool) error {
	file := &yaml.Node{Kind: yaml.MappingNode}
	for _, s := range settings {
		key, value := &yaml.Node{}, &yaml.Node{}
		key.SetString(s.Name)
		if err := value.Encode(s.Value); err != nil {
			return err
		}
		switch {
		case !origin:
		case value.Kind == yaml.SequenceNode && len(value.Content) > 0:
			key.LineComment = s.Origin
		default:
			value.LineComment = s.Origin
		}
		file.Content = append(file.Content, key, value)
	}
	e := yaml.NewEncoder(c.out)
	e.SetIndent(2)
	if err := e.Encode(file); err != nil {
		return err
	}
	return e.Close()
}

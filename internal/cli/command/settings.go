package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/aside"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/console"
)

// Settle gives each flag that is not on the command line its value from the environment
// (SENTINEL_BATCH_INTERVAL for --batch-interval), else from the YAML file of --config, whose
// keys are flag names. It refuses unknown keys. A flag with several values is a list in the
// file, and has one value a line in the environment.
func Settle(cmd *cobra.Command, file string) error {
	_, err := SettleFlags(cmd.Context(), cmd.Flags(), file)
	return err
}

// No library for settings is used. Viper v1.21 and koanf v2.4 turn a scalar of YAML into a number or
// a date before the flag sees its text: they make "83", "1000" and "3.1" of 0123, 1e3 and 3.10
// (TestAScalarOfTheFileIsItsText). Neither says where a value is from, as config show --origin does
// (docs/decisions/0034).

// SettleFlags does the same, and returns where the value of each flag is from.
func SettleFlags(ctx context.Context, flags *pflag.FlagSet, file string) (origins map[string]string, err error) {
	values, err := ReadFile(ctx, flags, file)
	if err != nil {
		return nil, err
	}
	origins = make(map[string]string)
	flags.VisitAll(func(f *pflag.Flag) {
		name := Variable(f.Name)
		fromEnv, fromFile := os.Getenv(name), values[f.Name]
		switch {
		case err != nil || f.Name == "config" || f.Name == "help":
		case f.Changed:
			origins[f.Name] = "flag"
		case fromEnv != "":
			origins[f.Name] = "environment " + name
			if fault := SetFlag(f.Value, strings.Split(strings.TrimRight(fromEnv, "\n"), "\n")); fault != nil {
				err = Usage(fmt.Errorf("%s: %w", name, Clearer(fault)))
			}
		case fromFile != nil:
			origins[f.Name] = "file " + file
			if fault := SetFlag(f.Value, fromFile); fault != nil {
				err = Usage(fmt.Errorf("%s: %s: %w", file, f.Name, Clearer(fault)))
			}
		default:
			origins[f.Name] = "default"
		}
	})
	return origins, err
}

// WarnOfStrays warns of environment variables that look like settings but are not.
func WarnOfStrays(root *cobra.Command) {
	known := pflag.NewFlagSet("", pflag.ContinueOnError)
	addFlags(known, root)
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		rest, ours := strings.CutPrefix(name, "SENTINEL_")
		flag := strings.ToLower(strings.ReplaceAll(rest, "_", "-"))
		if !ours || os.Getenv(name) == "" || known.Lookup(flag) != nil || slices.ContainsFunc(otherVariables, func(p string) bool { return strings.HasPrefix(rest, p) }) {
			continue
		}
		console.Tell("$%s is not a setting and is ignored%s", name, suggest(known, flag))
	}
}

// otherVariables are prefixes, after SENTINEL_, of variables that belong to no flag: the token,
// what the commands set for the programs that they run, and what Kubernetes sets for a service
// named sentinel-peer.
var otherVariables = []string{"TOKEN", "QUEUE", "ITEM", "LOCK_", "PEER"}

func addFlags(to *pflag.FlagSet, cmd *cobra.Command) {
	to.AddFlagSet(cmd.Flags())
	for _, sub := range cmd.Commands() {
		addFlags(to, sub)
	}
}

// Variable returns the environment variable of a flag.
func Variable(flag string) string {
	return "SENTINEL_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// SetFlag sets a flag to each value of a list, as if the flag were repeated.
func SetFlag(flag pflag.Value, list []string) error {
	if _, several := flag.(pflag.SliceValue); !several && len(list) != 1 {
		return fmt.Errorf("%d values; want one", len(list))
	}
	for _, v := range list {
		if err := flag.Set(v); err != nil {
			return err
		}
	}
	return nil
}

// ReadFile returns the values in a YAML file, by flag. Each scalar is taken as the text that
// the file has. A value that is empty, null or ~ counts as absent.
func ReadFile(ctx context.Context, flags *pflag.FlagSet, file string) (map[string][]string, error) {
	if file == "" {
		return nil, nil
	}
	f, err := aside.ReadFile(ctx, file)
	if err != nil {
		return nil, Usage(err)
	}
	values, err := parseSettings(flags, f.Text)
	if err != nil {
		return nil, Usage(fmt.Errorf("%s: %w", file, err))
	}
	return values, nil
}

func parseSettings(flags *pflag.FlagSet, text []byte) (map[string][]string, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, err
	}
	values := make(map[string][]string)
	if len(document.Content) == 0 || isEmpty(document.Content[0]) {
		return values, nil
	}
	top := document.Content[0]
	if top.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("line %d: want lines of KEY: VALUE", top.Line)
	}
	given := make(map[string]bool)
	for i := 0; i < len(top.Content); i += 2 {
		key := top.Content[i]
		flag := flags.Lookup(key.Value)
		switch {
		case flag == nil || key.Value == "config" || key.Value == "help":
			return nil, fmt.Errorf("line %d: unknown key %q%s", key.Line, key.Value, suggest(flags, key.Value))
		case given[key.Value]:
			return nil, fmt.Errorf("line %d: %s is there twice", key.Line, key.Value)
		}
		given[key.Value] = true
		list, err := valuesOf(flag, top.Content[i+1])
		if err != nil {
			return nil, fmt.Errorf("line %d: %s: %w", key.Line, key.Value, err)
		}
		if len(list) > 0 {
			values[key.Value] = list
		}
	}
	return values, nil
}

// valuesOf returns the values that a node of YAML has for a flag.
func valuesOf(flag *pflag.Flag, node *yaml.Node) ([]string, error) {
	node = aliased(node)
	_, several := flag.Value.(pflag.SliceValue)
	switch {
	case node.Kind == yaml.ScalarNode && isEmpty(node):
		return nil, nil
	case node.Kind == yaml.ScalarNode:
		return []string{node.Value}, nil
	case node.Kind == yaml.SequenceNode && several:
		var list []string
		for _, element := range node.Content {
			element = aliased(element)
			if element.Kind != yaml.ScalarNode || isEmpty(element) {
				return nil, errors.New("want a list of values: none of them empty, a list or a mapping")
			}
			list = append(list, element.Value)
		}
		return list, nil
	case several:
		return nil, errors.New("want one value or a list of them, not a mapping")
	}
	return nil, errors.New("want one value, not a list or a mapping")
}

func aliased(node *yaml.Node) *yaml.Node {
	if node.Kind == yaml.AliasNode {
		return node.Alias
	}
	return node
}

func isEmpty(node *yaml.Node) bool {
	return node.Kind == yaml.ScalarNode && (node.Value == "" || node.ShortTag() == "!!null")
}

// suggest proposes the flag that is nearest to key, if one is near.
func suggest(flags *pflag.FlagSet, key string) string {
	var names []string
	flags.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	return nearest(key, names)
}

// nearest proposes the name that is nearest to a word, if one is near.
func nearest(word string, names []string) string {
	if best := api.Nearest(word, names); best != "" {
		return fmt.Sprintf("; did you mean %q?", best)
	}
	return ""
}

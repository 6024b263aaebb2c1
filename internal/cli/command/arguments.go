package command

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Args wraps a check of positional arguments. It returns a usage error that says which
// argument is missing, superfluous, empty or not text.
func Args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, list []string) error {
		names := arguments(cmd)
		form := strings.Join(append([]string{cmd.CommandPath()}, names...), " ")
		for i, arg := range list {
			name := ""
			if len(names) > 0 {
				name = bare(names[min(i, len(names)-1)])
			}
			if !utf8.ValidString(arg) && name != "FILE" && name != "FOLDER" {
				return Usage(fmt.Errorf("%s %q: %w", name, arg[:min(len(arg), maxEcho)], ErrNotText))
			}
			if arg == "" && i < len(names) && slices.Contains(neverEmpty, bare(names[i])) {
				return Usage(fmt.Errorf("%s is empty: want %s", bare(names[i]), form))
			}
		}
		switch err := check(cmd, list); {
		case err == nil:
			return nil
		case len(list) < len(names):
			return Usage(fmt.Errorf("%s is missing: want %s", bare(names[len(list)]), form))
		default:
			return Usage(fmt.Errorf("%q is one argument too many: want %s", list[len(names)], form))
		}
	}
}

// Plausible refuses negative durations and counts, a time-out of 0, and values that are not UTF-8.
func Plausible(flags *pflag.FlagSet) (err error) {
	flags.VisitAll(func(f *pflag.Flag) {
		text := f.Value.String()
		negative := f.Value.Type() == "duration" && strings.HasPrefix(text, "-")
		switch {
		case negative && f.Name == "ttl", f.Name == "timeout" && (negative || text == "0s"):
			err = Usage(fmt.Errorf("--%s %s: want more than 0", f.Name, text))
		case negative, f.Value.Type() == "int" && f.Name != "priority" && strings.HasPrefix(text, "-"):
			err = Usage(fmt.Errorf("--%s %s: want 0 or more", f.Name, text))
		case !utf8.ValidString(text):
			err = Usage(fmt.Errorf("--%s %q: %w", f.Name, text, ErrNotText))
		}
	})
	return err
}

// ErrNotText is the error for bytes that are not UTF-8: JSON would keep them as other ones.
var ErrNotText = errors.New("want text in UTF-8; encode other bytes as text, such as base64")

// neverEmpty lists the arguments that name something, and so must not be empty.
var neverEmpty = []string{"KEY", "NAME", "ID", "QUEUE"}

var flagsOf = regexp.MustCompile(`\[[^]]*flags[^]]*\]`)

// arguments returns the arguments in a command's use line.
func arguments(cmd *cobra.Command) []string {
	return strings.Fields(flagsOf.ReplaceAllString(cmd.Use, ""))[1:]
}

// bare returns the name of an argument without the brackets and dots of its use line.
func bare(name string) string { return strings.TrimSuffix(strings.Trim(name, "[]"), "...") }

// These are the errors of the standard library about numbers and durations. They name parts
// of that library, which a user does not need to know.
var (
	noDuration = regexp.MustCompile(`time: (missing|invalid|unknown) .*$`)
	noNumber   = regexp.MustCompile(`strconv\.Parse\w+: parsing .*$`)
)

// Clearer replaces such an error by one that says which values are allowed.
func Clearer(err error) error {
	text := noDuration.ReplaceAllString(err.Error(), "want a number with its unit, such as 500ms, 5s or 1h, of at most 876000h")
	return errors.New(noNumber.ReplaceAllStringFunc(text, func(fault string) string {
		switch {
		case strings.HasSuffix(fault, strconv.ErrRange.Error()):
			return "want a whole number within 64 bits"
		case strings.Contains(fault, "ParseUint"):
			return "want a whole number, 0 or more"
		}
		return "want a whole number"
	}))
}

// FlagError returns the usage error for a wrong flag of cmd, with a suggestion if one is near.
func FlagError(cmd *cobra.Command, err error) error {
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		return Usage(fmt.Errorf("%w%s", err, suggest(cmd.Flags(), unknown.GetSpecifiedName())))
	}
	return Usage(Clearer(err))
}

// NoCommand returns the usage error for a command that the group does not have.
func NoCommand(group *cobra.Command, name string) error {
	var names []string
	for _, sub := range group.Commands() {
		if !sub.Hidden {
			names = append(names, sub.Name())
		}
	}
	_, within, _ := strings.Cut(group.CommandPath()+" ", " ")
	return Usage(fmt.Errorf("no such command %q%s", within+name, nearest(name, names)))
}

// Group returns a command that only holds others.
func Group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Example: commands[0].Example,
		Args: func(cmd *cobra.Command, list []string) error {
			if len(list) > 0 {
				return NoCommand(cmd, list[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(commands...)
	return cmd
}

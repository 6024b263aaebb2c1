package hold

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/command"
)

// These are the exit codes of the lock command, beside those of the command that it runs. They
// follow timeout and env of GNU coreutils.
const (
	ExitLost      = 123 // the lease was lost, and the command was ended
	ExitWaited    = 124 // the wait for the lock expired
	ExitOurs      = 125 // this program failed
	exitNoExec    = 126 // the command cannot be executed
	exitNoCommand = 127 // the command was not found
)

// ours returns err as a failure of this program, not of the command that it runs.
func ours(err error) error { return command.Exit(ExitOurs, err) }

func notExecuted(err error) error {
	if _, ok := errors.AsType[*command.ExitError](err); ok {
		return err
	}
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return command.Exit(exitNoCommand, err)
	}
	return command.Exit(exitNoExec, err)
}

// prepared returns the command line argv of the user's, with variables in its environment.
func prepared(program string, argv []string, variables ...string) *exec.Cmd {
	cmd := exec.Command(program, argv[1:]...)
	cmd.Args[0] = argv[0]
	cmd.Env = append(commandEnv(), variables...)
	return cmd
}

// nameAndCommand checks arguments that are a name and, after --, a command. The name is called
// what in the use line; fail gives an error its exit code.
func nameAndCommand(what string, fail func(error) error) cobra.PositionalArgs {
	return func(_ *cobra.Command, list []string) error {
		switch {
		case len(list) < 2:
			return fail(fmt.Errorf("want %s, and after -- a COMMAND", what))
		case list[0] == "":
			return fail(fmt.Errorf("%s is empty", what))
		case !utf8.ValidString(list[0]):
			return fail(fmt.Errorf("%s %q: %w", what, list[0], command.ErrNotText))
		}
		return nil
	}
}

// commandEnv returns this process's environment without the token for the daemon, which
// commands of the user's have no need to know.
func commandEnv() []string {
	return slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, client.TokenVariable+"=") })
}

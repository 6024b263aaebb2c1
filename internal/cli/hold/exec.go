package hold

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/command"
)

// The exit codes of who runs a command while holding a lock, beside those of the command it runs.
const (
	ExitLost      = 123 // the lease was lost, and the command ended
	ExitWaited    = 124 // the wait was over
	ExitOurs      = 125 // our own failure
	exitNoExec    = 126 // the command cannot be executed
	exitNoCommand = 127 // the command is not there
)

// ours makes err a failure of this program, not of the command.
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

// commandEnv is our environment for commands of the user's: what opens the daemon to us is
// not theirs.
func commandEnv() []string {
	return slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, client.TokenVariable+"=") })
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/spf13/cobra"
)

// Main executes a command line and returns its exit code. Version is that of a release,
// "" for what the build says of itself.
func Main(version string, args []string) int {
	release = version
	code := run(args)
	stdout.end()
	stderr.end()
	return code
}

// exitError is an error with an exit code of its own.
type exitError struct {
	code int
	err  error
}

// errShown is a failure that the user has been shown already.
var errShown = errors.New("it has been shown")

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// run executes one command line and returns the exit code.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // who asks twice does not want to wait
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		err = stdout.failure()
	}
	if err == nil {
		return 0
	}
	if !errors.Is(err, errShown) {
		tell("%v", err)
	}
	var e *exitError
	if errors.As(err, &e) {
		if e.code == api.ExitUsage {
			fmt.Fprintf(stderr, "See '%s --help'.\n", cmd.CommandPath())
		}
		return e.code
	}
	return api.ExitOther
}

func usage(err error) error { return &exitError{api.ExitUsage, err} }

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "sentinel-peer",
		Short:         "Shared memory for fleets of workers, without a server",
		Example:       "  sentinel-peer agent --cluster farm --name n1\n  sentinel-peer put greeting hello",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return noCommand(cmd, args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.Version = versions()
	root.SetVersionTemplate("{{.Version}}\n")
	root.CompletionOptions.DisableDefaultCmd = true // newCompletion is ours
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(newAgent(), newDemo(), newMCP(), newSim(), newKeygen(), newVersion(), newConfig(), newDoctor(), newCompletion(), newMan())
	root.AddCommand(clientCommands()...)
	root.AddCommand(hiddenCommands()...)
	return root
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/command"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/console"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/daemon"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/data"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/demo"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/hold"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/simulate"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/status"
)

// Main executes a command line and returns its exit code. The release is the version that
// the linker gave this program, "" if it gave none.
func Main(release string, args []string) int {
	code := run(release, args)
	console.Stdout.End()
	console.Stderr.End()
	return code
}

// run executes one command line and returns the exit code.
func run(release string, args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	root := NewRoot(built(release))
	root.SetArgs(args)
	root.SetOut(console.Stdout)
	root.SetErr(console.Stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		err = console.Stdout.Failure()
	}
	if err == nil {
		return 0
	}
	if !errors.Is(err, command.ErrShown) {
		console.Tell("%v", err)
	}
	var e *command.ExitError
	if errors.As(err, &e) {
		if e.Code == api.ExitUsage {
			fmt.Fprintf(console.Stderr, "See '%s --help'.\n", cmd.CommandPath())
		}
		return e.Code
	}
	return api.ExitOther
}

// NewRoot returns the command that holds all others, in a program of the given version.
func NewRoot(version string) *cobra.Command {
	root := &cobra.Command{
		Use:           "sentinel-peer",
		Short:         "Shared memory for fleets of workers, without a server",
		Example:       "  sentinel-peer agent --cluster farm --name n1\n  sentinel-peer put greeting hello",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return command.NoCommand(cmd, args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.Version = versions(version)
	root.SetVersionTemplate("{{.Version}}\n")
	root.CompletionOptions.DisableDefaultCmd = true // newCompletion takes its place
	root.SetFlagErrorFunc(command.FlagError)
	c := &client.Client{}
	root.AddCommand(slices.Concat(daemon.Commands(version), data.Commands(c), status.Commands(c), hold.Commands(c))...)
	root.AddCommand(demo.New(), simulate.New(), newMCP(), newVersion(version), newCompletion(), newMan(version))
	return root
}

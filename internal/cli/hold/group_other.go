//go:build !unix

package hold

import (
	"os"
	"os/exec"

	"github.com/spf13/cobra"
)

// forwarded lists the signals that are passed on to the command.
var forwarded = []os.Signal{os.Interrupt}

func number(os.Signal) int { return 2 }

// procGroup is the process of the command alone: this system has no process groups.
type procGroup struct{ process *os.Process }

func startGroup(cmd *exec.Cmd, _ bool) (*procGroup, error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &procGroup{cmd.Process}, nil
}

func (g *procGroup) signal(os.Signal) {} // the console sends the signal to all its processes
func (g *procGroup) terminate()       { g.kill() }
func (g *procGroup) kill()            { _ = g.process.Kill() }
func (g *procGroup) close()           {}

func exitCode(s *os.ProcessState) int { return s.ExitCode() }

func hidden() []*cobra.Command { return nil }

//go:build unix

package hold

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sentinel-peer/sentinel-peer/internal/cli/command"
)

// guardCommand starts a guard: a process that kills the process group of the command when the
// lock command was killed itself and so cannot. The guard notices that by the end of a pipe,
// which the kernel closes.
const guardCommand = "lock-guard"

// guardDone is the line that tells the guard that there is nothing left to end.
const guardDone = "done"

func startGuard() (*os.File, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	cmd := exec.Command(self, guardCommand)
	cmd.Stdin = r
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // signals to this process group do not reach it
	if err := cmd.Start(); err != nil {
		w.Close()
		return nil, err
	}
	return w, cmd.Process.Release()
}

// hidden returns the commands that only this program runs.
func hidden() []*cobra.Command {
	return []*cobra.Command{{
		Use: guardCommand, Hidden: true, Args: command.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM)
			return guard(os.Stdin)
		},
	}}
}

// guard reads the number of a process group. It kills the group unless guardDone follows.
func guard(in io.Reader) error {
	lines := bufio.NewScanner(in)
	if !lines.Scan() {
		return lines.Err() // no command was started
	}
	id, err := strconv.Atoi(strings.TrimSpace(lines.Text()))
	if err != nil || id <= 1 {
		return fmt.Errorf("want the number of a process group, not %q", lines.Text())
	}
	if lines.Scan() && lines.Text() == guardDone {
		return nil
	}
	return syscall.Kill(-id, syscall.SIGKILL)
}

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

// A guard is a process beside the lock command. When that is killed, and can do
// nothing any more, the guard kills the process group of the command it ran: they
// hold the end of a pipe, which the kernel closes.
const guardCommand = "lock-guard"

// guardDone is what the guard reads when there is nothing left to end.
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
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // away from what is sent to ours
	if err := cmd.Start(); err != nil {
		w.Close()
		return nil, err
	}
	return w, cmd.Process.Release()
}

// hidden are those that only this program runs.
func hidden() []*cobra.Command {
	return []*cobra.Command{{
		Use: guardCommand, Hidden: true, Args: command.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM)
			return guard(os.Stdin)
		},
	}}
}

// guard reads the number of a process group, and kills it if nothing follows.
func guard(in io.Reader) error {
	lines := bufio.NewScanner(in)
	if !lines.Scan() {
		return lines.Err() // nothing was started
	}
	id, err := strconv.Atoi(strings.TrimSpace(lines.Text()))
	if err != nil || id <= 1 {
		return fmt.Errorf("process group %q", lines.Text())
	}
	if lines.Scan() && lines.Text() == guardDone {
		return nil
	}
	return syscall.Kill(-id, syscall.SIGKILL)
}

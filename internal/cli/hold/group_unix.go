//go:build unix

package hold

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// forwarded are the signals that are passed to the command.
var forwarded = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2}

func number(s os.Signal) int { return int(s.(syscall.Signal)) }

// procGroup is the process group of a command.
type procGroup struct {
	id       int
	terminal *os.File // that it was given, to be taken back
	guard    *os.File // to the process that ends the group if we are killed
}

// startGroup starts cmd in a process group of its own. If this process has the
// terminal, and the command is to have it, it gets it: who is in the background cannot
// read from it.
func startGroup(cmd *exec.Cmd, terminal bool) (*procGroup, error) {
	g := &procGroup{}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if owner, err := unix.IoctlGetInt(int(os.Stdin.Fd()), unix.TIOCGPGRP); terminal && err == nil && owner == unix.Getpgrp() {
		g.terminal = os.Stdin
		cmd.SysProcAttr.Foreground, cmd.SysProcAttr.Ctty = true, int(os.Stdin.Fd())
	}
	endWithUs(cmd.SysProcAttr)
	var err error
	if g.guard, err = startGuard(); err != nil {
		return nil, ours(err)
	}
	if err := cmd.Start(); err != nil {
		g.close()
		return nil, err
	}
	g.id = cmd.Process.Pid
	fmt.Fprintln(g.guard, g.id)
	if g.terminal != nil {
		go g.resume()
	}
	return g, nil
}

func (g *procGroup) signal(s os.Signal) { _ = syscall.Kill(-g.id, s.(syscall.Signal)) }

// terminate asks all of the group to end, also who is stopped.
func (g *procGroup) terminate() {
	g.signal(syscall.SIGTERM)
	g.signal(syscall.SIGCONT)
}

func (g *procGroup) kill() { g.signal(syscall.SIGKILL) }

// close dismisses the guard and takes the terminal back.
func (g *procGroup) close() {
	if g.id != 0 {
		fmt.Fprintln(g.guard, guardDone)
	}
	g.guard.Close()
	if g.terminal == nil {
		return
	}
	signal.Ignore(syscall.SIGTTOU) // for who asks from the background
	_ = unix.IoctlSetPointerInt(int(g.terminal.Fd()), unix.TIOCSPGRP, unix.Getpgrp())
	signal.Reset(syscall.SIGTTOU)
}

// exitCode returns that of a shell: 128 and the signal for who was ended by one.
func exitCode(s *os.ProcessState) int {
	if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return 128 + int(w.Signal())
	}
	return s.ExitCode()
}

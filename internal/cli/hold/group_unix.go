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

// forwarded lists the signals that are passed on to the command.
var forwarded = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2}

func number(s os.Signal) int { return int(s.(syscall.Signal)) }

// procGroup is the process group of a command.
type procGroup struct {
	id       int
	terminal *os.File // the terminal that the command was given, to be taken back; nil if none
	guard    *os.File // a pipe to the process that ends the group if this one is killed
}

// startGroup starts cmd in a process group of its own. If this process is in the foreground of
// the terminal and the command is to have it, the command's group is put there: a process in
// the background cannot read from a terminal.
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

// terminate asks all processes of the group to end, also stopped ones.
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
	signal.Ignore(syscall.SIGTTOU) // a process in the background gets it when it takes the terminal
	_ = unix.IoctlSetPointerInt(int(g.terminal.Fd()), unix.TIOCSPGRP, unix.Getpgrp())
	signal.Reset(syscall.SIGTTOU)
}

// exitCode returns the exit code as a shell does: 128 and the signal if one ended the process.
func exitCode(s *os.ProcessState) int {
	if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return 128 + int(w.Signal())
	}
	return s.ExitCode()
}

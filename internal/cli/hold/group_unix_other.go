//go:build unix && !linux

package hold

import "syscall"

// endWithUs does nothing: this system has no such signal, and the guard alone ends the command.
func endWithUs(*syscall.SysProcAttr) {}

// resume does nothing: this system does not report that a command is stopped at the terminal.
func (g *procGroup) resume() {}

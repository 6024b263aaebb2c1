package main

import (
	"runtime"
	"syscall"
)

// endWithUs makes the kernel kill the command when this process is killed, even if the
// guard of its group is, too. It does so
// at the end of the thread that started it: hence that is kept.
func endWithUs(a *syscall.SysProcAttr) {
	runtime.LockOSThread()
	a.Pdeathsig = syscall.SIGKILL
}

package hold

import (
	"errors"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sentinel-peer/sentinel-peer/internal/cli/console"
)

// endWithUs makes the kernel kill the command when this process is killed, even if the guard of
// the group is killed too. The kernel does so when the thread ends that started the command:
// hence the goroutine is locked to its thread.
func endWithUs(a *syscall.SysProcAttr) {
	runtime.LockOSThread()
	a.Pdeathsig = syscall.SIGKILL
}

// resume continues the command whenever it is stopped at the terminal, until it ends: a command
// that holds a lease must not be paused, and the shell does not see that it was.
func (g *procGroup) resume() {
	for {
		switch err := unix.Waitid(unix.P_PID, g.id, nil, unix.WSTOPPED, nil); {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return // the command has ended
		default:
			console.Tell("a command that holds a lock is not suspended")
			g.signal(syscall.SIGCONT)
		}
	}
}

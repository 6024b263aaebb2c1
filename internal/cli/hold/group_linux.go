package hold

import (
	"errors"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sentinel-peer/sentinel-peer/internal/cli/console"
)

// endWithUs makes the kernel kill the command when this process is killed, even if the
// guard of its group is, too. It does so at the end of the thread that started it:
// hence that is kept.
func endWithUs(a *syscall.SysProcAttr) {
	runtime.LockOSThread()
	a.Pdeathsig = syscall.SIGKILL
}

// resume continues a command that was stopped at the terminal, until it ends. A shell
// does not see it, and could not; and who holds a lease must not be paused.
func (g *procGroup) resume() {
	for {
		switch err := unix.Waitid(unix.P_PID, g.id, nil, unix.WSTOPPED, nil); {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return // it has ended
		default:
			console.Tell("a command that holds a lock is not suspended")
			g.signal(syscall.SIGCONT)
		}
	}
}

package hold

import (
	"time"

	"golang.org/x/sys/unix"
)

// boottime reads a clock that goes on while the machine is suspended.
func boottime() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return time.Since(started)
	}
	return time.Duration(ts.Nano())
}

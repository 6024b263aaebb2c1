package lockservice

import (
	"time"

	"golang.org/x/sys/unix"
)

// monotonic returns CLOCK_BOOTTIME, which runs on while the machine is suspended:
// a lease must not outlast a nap of its holder (golang/go#24595).
func monotonic() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return time.Since(processStart)
	}
	return time.Duration(ts.Nano())
}

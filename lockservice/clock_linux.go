package lockservice

import (
	"math"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// monotonic returns CLOCK_BOOTTIME, which runs on while the machine is suspended:
// a lease must not outlast a nap of its holder (golang/go#24595).
func monotonic() time.Duration { return sinceBoot.read(time.Now()) }

var sinceBoot bootClock

// bootClock derives CLOCK_BOOTTIME from Go's clocks, whose reading costs no system call. The
// wall clock goes on while the machine is suspended, and the monotonic clock does not. As
// long as their difference stays the same, the machine was not suspended, and
// CLOCK_BOOTTIME keeps its difference to the monotonic clock. When it changes, and every
// syncEvery in any case, the kernel is asked: a wall clock that was set back by exactly
// the length of a suspend hides it for no longer than that.
type bootClock struct{ last atomic.Pointer[bootSync] }

// bootSync holds the readings of the clocks when the kernel was asked.
type bootSync struct {
	at     time.Duration // monotonic time since the start of the process
	wall   time.Duration // wall-clock time since the start of the process, minus at
	offset time.Duration // CLOCK_BOOTTIME minus at
}

const (
	syncEvery = 100 * time.Millisecond
	shortNap  = time.Millisecond // differences below this are noise between two readings
)

// read returns CLOCK_BOOTTIME at now, from time.Now. It never goes back.
func (c *bootClock) read(now time.Time) time.Duration {
	at := now.Sub(processStart)
	last := c.last.Load()
	if last == nil || at-last.at > syncEvery || (wallSince(now)-at-last.wall).Abs() > shortNap {
		last = c.sync(last)
	}
	return at + last.offset
}

func wallSince(now time.Time) time.Duration {
	return time.Duration(now.UnixNano() - processStart.UnixNano())
}

// sync asks the kernel, and repeats that up to 8 times if the process was interrupted between
// the readings.
func (c *bootClock) sync(last *bootSync) *bootSync {
	var next bootSync
	least := time.Duration(math.MaxInt64)
	for try := 0; try < 8 && least > shortNap/4; try++ {
		var ts unix.Timespec
		now := time.Now()
		at := now.Sub(processStart)
		boot := at
		if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) == nil {
			boot = time.Duration(ts.Nano())
		}
		if took := time.Since(now); took < least {
			least = took
			next = bootSync{at: at, wall: wallSince(now) - at, offset: boot - at}
		}
	}
	if last != nil && next.offset < last.offset+shortNap { // no suspend: the difference is the time of the reading
		next.offset = last.offset
	}
	if !c.last.CompareAndSwap(last, &next) {
		return c.last.Load()
	}
	return &next
}

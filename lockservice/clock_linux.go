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

// bootClock reads CLOCK_BOOTTIME by way of Go's clocks, which cost no system call.
// Of these the wall clock goes on through a nap of the machine, the monotonic one does
// not. As long as they keep their distance there was none, and CLOCK_BOOTTIME keeps its
// distance from the monotonic clock; else the kernel is asked, and every syncEvery
// besides, so that a wall clock set back by the very length of a nap hides it no longer.
type bootClock struct{ last atomic.Pointer[bootSync] }

// bootSync is what the clocks said when the kernel was asked.
type bootSync struct {
	at     time.Duration // since the start of the process, on the monotonic clock
	wall   time.Duration // likewise on the wall clock, less at
	offset time.Duration // CLOCK_BOOTTIME less at
}

const (
	syncEvery = 100 * time.Millisecond
	shortNap  = time.Millisecond // two readings of one moment may be so far apart
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

// sync asks the kernel, a few times if something came between the readings.
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
	if last != nil && next.offset < last.offset+shortNap { // no nap: what differs is the time it took to look
		next.offset = last.offset
	}
	if !c.last.CompareAndSwap(last, &next) {
		return c.last.Load()
	}
	return &next
}

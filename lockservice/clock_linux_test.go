package lockservice

import (
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func boottime(t *testing.T) time.Duration {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		t.Fatal(err)
	}
	return time.Duration(ts.Nano())
}

func TestTheClockOfLeasesIsTheKernels(t *testing.T) {
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			last := time.Duration(0)
			for end := time.Now().Add(3 * syncEvery); time.Now().Before(end); {
				before := boottime(t)
				got := monotonic()
				after := boottime(t)
				if got < last || got < before-2*shortNap || got > after+2*shortNap {
					t.Errorf("%v after %v, where the kernel said %v and then %v", got, last, before, after)
					return
				}
				last = got
			}
		})
	}
	wg.Wait()
}

// After a suspend the wall clock and CLOCK_BOOTTIME are both ahead of Go's monotonic clock by
// the length of the suspend.
func TestTheClockOfLeasesRunsOnThroughANap(t *testing.T) {
	const nap = time.Minute
	var c bootClock
	c.read(time.Now())
	for _, fault := range []time.Duration{0, -time.Hour} { // the wall clock is set by this much as well
		awake := *c.last.Load()
		awake.offset -= nap // the offset before the suspend
		awake.wall -= nap + fault
		c.last.Store(&awake)
		if got, want := c.read(time.Now()), boottime(t); got < want-2*shortNap || got > want {
			t.Errorf("%v after a nap, where the kernel says %v", got, want)
		}
	}
	hidden := *c.last.Load()
	hidden.offset -= nap
	hidden.at -= syncEvery // the wall clock was set back by the length of the nap
	c.last.Store(&hidden)
	if got, want := c.read(time.Now()), boottime(t); got < want-2*shortNap {
		t.Errorf("%v after a hidden nap, where the kernel says %v", got, want)
	}
}

func BenchmarkClock(b *testing.B) {
	for b.Loop() {
		monotonic()
	}
}

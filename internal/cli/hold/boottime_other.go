//go:build !linux

package hold

import "time"

// boottime reads Go's monotonic clock, which may stand still while the machine is suspended.
func boottime() time.Duration { return time.Since(started) }

//go:build !linux

package lockservice

import "time"

// monotonic returns Go's monotonic clock, which may stand still while the machine
// is suspended: do not suspend a voter or a holder, or rely on tokens.
func monotonic() time.Duration { return time.Since(processStart) }

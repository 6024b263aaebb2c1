package lockservice

import "time"

// maxNap is how long the loop sleeps at most. Go's timers stand still while the
// machine is suspended; the clock of leases does not, so somebody must look at it
// soon after.
const maxNap = time.Second

var processStart = time.Now()

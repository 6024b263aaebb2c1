package lockservice

import "time"

// maxNap is the longest sleep of a session's loop. Go's timers stand still while the machine is
// suspended, and the clock of leases does not: after a suspend the loop looks at that
// clock within this time.
const maxNap = time.Second

var processStart = time.Now()

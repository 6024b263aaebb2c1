package hold

import "time"

// started is where clocks without a beginning of their own count from.
var started = time.Now()

package hold

import "time"

// started is the zero of a clock that has no zero of its own.
var started = time.Now()

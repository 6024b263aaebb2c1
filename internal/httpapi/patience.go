package httpapi

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// patience is how long an operation may take: callTimeout, or less if the client says
// by a Prefer header (RFC 7240) that it waits no longer: wait=10, in seconds. What is no
// such preference is passed over, as that document wants it.
func patience(r *http.Request) time.Duration {
	for _, line := range r.Header["Prefer"] {
		for preference := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(preference), "=")
			if !strings.EqualFold(name, "wait") {
				continue
			}
			s, err := strconv.ParseFloat(strings.Trim(value, `"`), 64)
			if err == nil && s >= 0 && !math.IsInf(s, 0) {
				return time.Duration(min(s, callTimeout.Seconds()) * float64(time.Second))
			}
		}
	}
	return callTimeout
}

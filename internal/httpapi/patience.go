package httpapi

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// patience returns how long an operation may take: callTimeout, or less if a Prefer header
// (RFC 7240) says that the client waits no longer, as in wait=10, in seconds. Malformed preferences
// are ignored, as that RFC demands.
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

// Package httpapi serves the operations of internal/api over HTTP, with health,
// metrics and a stream of events beside them.
//
//	I1  A path names one key: what would be cleaned into another is refused.
//	I2  Without tokens it serves loopback only. A web page of another origin makes it do
//	    nothing, and learns nothing from it.
//	I3  Every body, header and wait is bounded; a slow client holds up nobody.
//	I4  Errors are problem+json (RFC 9457) with a stable code, and each is counted by it.
//	I5  What is mounted sits behind the same checks, limits and counters as the API.
package httpapi

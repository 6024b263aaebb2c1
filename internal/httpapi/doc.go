// Package httpapi serves the operations of internal/api over HTTP, together with health checks,
// metrics and a stream of events.
//
//	I1  A path names one key: a path that the router would clean into another is refused.
//	I2  Without tokens the server listens on loopback only. A web page of another origin can
//	    neither make it do anything nor learn anything from it.
//	I3  Every body, header and wait is bounded, and a slow client holds up no other.
//	I4  Errors are problem+json (RFC 9457) with a stable code, and are counted by code.
//	I5  Mounted handlers are behind the same checks, limits and counters as the API.
package httpapi

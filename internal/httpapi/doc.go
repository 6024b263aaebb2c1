// Package httpapi serves the operations of internal/api over HTTP, with health,
// metrics and a stream of events beside them.
//
//	I1  A path names one key: what would be cleaned into another is refused.
//	I2  Without tokens or TLS it serves loopback only, and answers no web page.
//	I3  Every body, header and wait is bounded; a slow client holds up nobody.
//	I4  Errors are problem+json (RFC 9457) with a stable code.
package httpapi

// Package api is the one table of operations that every interface offers: HTTP, MCP and the
// dashboard. An operation takes a Request and returns a Response or an error. An interface (the
// comments say "surface") decides how these look on the wire.
//
//	I1  Every operation is in Operations or unrouted, and nowhere else.
//	I2  An error is one of the packages agent, crdt and lockservice, or a *LimitError,
//	    *ForbiddenError or *BadRequest.
//	I3  An operation reads, writes and locks only what the Grant of its context covers.
package api

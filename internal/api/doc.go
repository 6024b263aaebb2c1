// Package api is the one table of operations that every outside surface renders:
// HTTP, MCP and the dashboard. An operation takes a Request and gives a Response or an error; how
// these look on the wire is the surface's business.
//
//	I1  Every operation is in Operations, and nowhere else.
//	I2  Errors are those of packages agent, crdt and lockservice, *LimitError,
//	    *ForbiddenError or *BadRequest.
//	I3  Nothing is read, written or locked but what the Grant of the context covers.
package api

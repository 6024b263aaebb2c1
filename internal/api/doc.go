// Package api is the one table of operations that every outside surface renders:
// HTTP today. An operation takes a Request and gives a Response or an error; how
// these look on the wire is the surface's business.
//
//	I1  Every operation is in Operations, and nowhere else.
//	I2  Errors are those of packages agent, crdt and lockservice, ErrTooManyLeases, or
//	    *BadRequest.
package api

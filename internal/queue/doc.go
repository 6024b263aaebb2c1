// Package queue decides what becomes of the items of a work queue: the rules of one
// peer, as a value machine. It reads no clock and starts nothing. Changes of the
// replicated keys, answers of the lock service and time go in; what to try, to write
// and to give back comes out. Package agent is its shell, and the simulator drives the
// same machine.
//
// An item is a key, written once. Each claim has a key of its own, named by its fencing
// token, which only its holder writes; the greatest token says what holds, whatever came
// first. Nobody writes that an item is pending: it is what has no verdict and no lease.
//
//	Take ─► the lock service is asked ─► Refused
//	                 │
//	              Granted ─► it confirms ─► GiveUp
//	                              │
//	                          Confirmed ─► its record is written, the work begins
//	                                               │
//	               Lost ◄──────────────────────────┤
//	                          Complete, Fail, Release ─► written ─► a majority knows ─► Conclude
//
// Rules, which the tests and the simulator's oracles name:
//
//	Q1  an item is handed out only under a lease, confirmed after its grant
//	Q2  of two claims the greater token counts, of one claim's words the later one
//	Q3  a verdict is valid if a majority of the voters has it while its lease lasts
//	Q4  a voter bars the lease of what it knows as done or dead, or failed and not due
//	Q5  what was claimed and has no verdict is pending again once its lease is over
//	Q6  an id is taken while its item is there, and while its result is kept
//
// Why these make a completion valid at most once is told in
// docs/decisions/0019-a-completion-is-a-majoritys.md.
package queue

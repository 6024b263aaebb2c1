// Package queue contains the rules by which one peer claims and finishes the items of a work
// queue, as a value machine. The machine reads no clock and starts no goroutine. Its inputs
// are changes of the replicated keys, answers of the lock service, and the time. Its outputs
// are the items to try, the writes to make, and the leases to release. Package agent is its
// shell, and the simulator drives the same machine.
//
// An item is a key that is written once. Each claim has a key of its own, named by its
// fencing token, which only the holder of that lease writes. The claim with the greatest
// token counts, in whatever order the claims arrive. No record says that an item is pending:
// an item is pending if it has no verdict and no lease.
//
// Words:
//
//	claim    the right of one peer to work on an item, as long as its lease lasts
//	verdict  what a claim says of its item: claimed, failed, dead, requeued or done
//	ending   the last verdict that a claim writes
//	closed   of an item: no new claim is allowed at all, or not yet (Q4)
//	due      when a delayed item may be claimed
//	rival    another peer that claims items of the same queue
//	share    the part of the items that a peer tries first while it has rivals
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
//	Q2  of two claims the greater token counts, of one claim's verdicts the later one
//	Q3  a verdict is valid if a majority of the voters has it while its lease lasts
//	Q4  a voter bars the lease of an item that it knows as done or dead, or failed and not due
//	Q5  an item that was claimed and has no verdict is pending again once its lease is over
//	Q6  an id is taken while its item is there, and while its result is kept
//
// docs/decisions/0019-a-completion-needs-a-majority.md explains why these rules make a
// completion valid at most once.
package queue

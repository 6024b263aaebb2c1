// Package queue contains the rules by which one peer claims and finishes the items of a work
// queue, as a value machine. The machine reads no clock and starts no goroutine. Its inputs
// are changes of the replicated keys, answers of the lock service, and the time. Its outputs
// are the items to try, the writes to make, and the leases to release. Package
// agent/workqueue is its shell, and the simulator drives the same machine.
//
// An item is a key that is written once. Each claim has a key of its own, named by its fencing
// token. The holder of that lease writes what the key says of the claim. Others write it for one
// reason each: Requeue overwrites it when the item is dead, and Purge, the next claimer and the
// sweep (litter.go) delete it. The claim with the greatest token counts, in whatever order the
// claims arrive. No record says that an item is pending: an item is pending if no claim closes it
// and it has no lease.
//
// Words:
//
//	claim    the right of one peer to work on an item, as long as its lease lasts
//	verdict  what the record of a claim says of its item: claimed, failed, dead, requeued or done
//	ending   the last verdict of a claim: failed, dead or done
//	valid    of an ending: a majority of voters has it while the lease lasts (Q3)
//	closed   of an item: no new claim is allowed at all, or not yet (Q4)
//	due      when a delayed item may be claimed
//	rival    another peer that claims items of the same queue
//	shard    the items whose ids have one of 256 hashes
//	share    the part of the items that a peer tries first while it has rivals
//
// The calls in the life of a Claim, and the phases between them:
//
//	Take ─► trying ─► Refused
//	           │
//	        Granted ─► granted ─► GiveUp
//	                      │
//	                  Confirmed ─► its record is written ─► Begin ─► dead: GiveUp
//	                                                          │
//	Adopt, at another peer ──────────────────────────────► working ─► Lost, Lapse, Stop
//	                                                          │ ▲
//	                                 Complete, Fail, Release ─┤ └─ Unwritten: no room for the ending
//	                                                          │
//	                                                     finishing ─► Written ─► Conclude
//
// After Refused, GiveUp, Lost, Lapse, Stop and Conclude the claim is over.
//
// Rules, which the tests and the simulator's oracles name:
//
//	Q1  an item is handed out only under a lease, confirmed after its grant
//	Q2  of two claims the greater token counts, of one claim's verdicts the greater in the order
//	    claimed, failed, dead, requeued, done
//	Q3  an ending is valid if a majority of the voters has it while its lease lasts
//	Q4  a voter bars the lease of an item that it knows as done or dead, or failed and not due
//	Q5  an item whose claim has no ending is pending again once the claim's lease is over
//	Q6  an id is taken while its item is there, and while its result is kept
//
// docs/decisions/0019-a-completion-needs-a-majority.md explains why these rules make a
// completion valid at most once.
package queue

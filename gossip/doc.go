// Package gossip decides which peer is told what, and when: the spread of new deltas and
// the repair of everything that is lost on the way.
//
// An [Engine] shares a store with its owner. Local writes enter by Push, frames by
// Receive, time by Tick; what is to be sent leaves by Envelopes. The package reads no
// clock and opens no socket.
//
// # The machines
//
// The engine hands each call to the machine that it concerns. Each machine has its own
// state, its own part of what is kept of a peer, and a file:
//
//	Members       members.go       who the others are, as the last view has them
//	ClusterClock  clusterclock.go  the others' clocks, the cluster's time, the latest stamp
//	Beats         heartbeat.go     leases of the workers beside each peer
//	digests       digest.go        two peers compare hashes of what they hold
//	pushes        push.go          a write goes to every peer, straight or down a tree
//	repairs       repair.go        what is missing and known to exist is asked for
//	acks          acks.go          which writes a peer has
//	stability     stable.go        what all have seen
//	syncs         sync.go          what one peer has and the other lacks is fetched
//	              retire.go        a request names few of the lives that have ended
//	reconciling   reconcile.go     equal contexts and different records are narrowed down
//	              absence.go       when a list is believed that something is gone
//	witnesses     witness.go       whom a peer believes how much others have written
//	shared        shared.go        the store, and the frames that leave
//	              path.go          whether packets get through to a peer
//
// A machine embeds those that it uses, so the list is also the order of their floors.
//
// # Words
//
//   - An actor is one life of a peer: each start has a new one. A dot is an actor and the
//     number of one of its writes; a context is the set of dots that a peer has seen.
//   - A record is the content of a dot that something still shows. A void is a dot whose
//     record is gone: overwritten or removed.
//   - A hole is a dot that is known to exist and has not arrived; a gap is all that is
//     missing of one actor. A head is the last dot that a peer has pushed of an actor.
//   - A dot is settled if it was seen so long ago that no push of it is on its way any more.
//   - A context is held while nobody but its teller has spoken of a write that it contains.
//   - A dot is stable if every known peer has seen it: its removal can be forgotten.
//
// # The messages
//
// A frame has a list of sections. These are all that peers say to each other:
//
//   - deltas: writes in the order of their dots. The writer sends them when the batch
//     interval ends, to all peers (up to Direct) or to its children in a tree that every
//     peer computes from the writer and the members. The receiver merges them and, in a
//     tree, passes on what is new to it. If they are lost, heads or a later delta show a
//     hole.
//   - heads: how far the sender has pushed each actor, 5 ms after a burst and again until
//     the receiver says that it is there too. The receiver asks for what it lacks. If all
//     ten are lost, the next digest differs.
//   - acks: how far the sender has all of an actor's writes, for those who announced heads
//     or wait for replicas. If they are lost, the heads come again.
//   - gaps: ranges of dots that the sender lacks, 20 ms after it saw that they exist. The
//     receiver answers with the deltas that it has of them. If either is lost, the sender
//     asks again, later each time, and after three times somebody else.
//   - digest: a hash of what the sender has seen and holds, its wall clock, its rules and
//     its latest stamp, to a peer chosen at random. If the hashes are equal, the receiver
//     sends its own back; otherwise it asks for a sync. If either is lost, another peer's
//     digest finds the difference.
//   - sync-request: the sender's context. The receiver answers with every record above it
//     (state), in as many answers as that takes. If a request or an answer is lost, the
//     request is repeated, then put to somebody else.
//   - state and sync-reply: records, and in the last answer the receiver's context. The
//     context removes: who takes it over drops what it covers and has no record of. It is
//     taken over if somebody beside the teller bears it out, or those who could are long out
//     of sight.
//   - parts: the receiver of a sync-request has seen other lives than its sum says, and
//     names the parts that differ; the request is put again with those spelt out.
//   - sums, ranges, lists: for two peers whose contexts are equal and whose records are
//     not. The shards that differ are narrowed to ranges of dots, and those to lists. A
//     record that one side does not list is gone there, and is dropped; of many another
//     peer must say so too, or the same one for ten minutes. If one is lost, the next digest
//     begins anew.
//   - beats: what is left of the leases of the workers beside the sender, to every peer,
//     every BeatInterval. The receiver keeps them until they run out. If some are lost, the
//     next ones make it good.
//   - path: whether packets get through, each way. If an answer is missing four times, the
//     stream carries what packets would.
//
// Nothing here is needed for safety: any of it may be lost, doubled or late.
//
// # Invariants
//
//	I1  A dot is passed on at most once, when it is new
//	    (TestTheTreeReachesEveryMemberOnce).
//	I2  A void is sent only for a dot this replica has seen and holds no record of
//	    (TestVoidsAloneAreRefused).
//	I3  Queues are bounded in bytes; a peer that overflows its queue is synced instead
//	    (TestAPeerThatTakesNothingCostsABoundedQueue).
//	I4  A dot is stable only if every known peer has acknowledged it and this peer
//	    has seen all that they had (TestNothingIsStableWhileAKnownPeerIsAway).
//	I5  No delivery needs a packet: where none passes, streams carry everything
//	    (TestPacketsAreAShortcutNotACondition, in internal/replica).
//	I6  No output depends on map order; two engines fed alike send alike
//	    (TestOutputIsAFunctionOfInput).
//
// Prior art: delta-state CRDTs and their join decompositions (Almeida et al. 2016,
// Enes et al. 2018), Scuttlebutt reconciliation (van Renesse et al. 2008),
// range-based set reconciliation (Meyer 2022).
package gossip

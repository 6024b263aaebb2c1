// Package gossip decides which peer is sent which write, and when. It spreads new writes and
// repairs everything that is lost on the way.
//
// An [Engine] shares a [crdt.Store] with its owner. Local writes enter the engine by Push,
// frames of other peers by Receive, and the passing of time by Tick. Frames that are to be sent
// leave by Envelopes. The package reads no clock and opens no socket, so that the simulator
// (package sim) runs exactly this code. No message is needed for safety: each may be lost,
// duplicated, reordered or late, and later messages repair the damage.
//
// # Words
//
// Packages clock and crdt define these words: an actor is one writer. A peer becomes a new actor
// when its process starts, and again when it finds that another process writes as the same actor
// (Engine.Cloned). A dot is an actor and a sequence number, and identifies one write. A causal context,
// or context, is the set of all dots that a peer has seen. A record is the content of a write. It
// is live until other records overwrite or remove it; then it is gone. A delta is a dot on its way to
// another peer, with its record or as a void, a dot whose record another one has superseded.
// Beyond these, the package uses:
//
//   - gap: the dots of one actor that are known to exist and have not arrived.
//   - head: the highest sequence number of an actor that a peer has seen, or has sent.
//   - in flight: a dot is in flight for 100 to 200 ms after this peer first saw it. Pushes of it
//     may still be on their way to other peers.
//   - counted: a peer counts for stability while it is listed as a member, up or down, unless
//     it is down and a later actor with its name is up.
//   - stable: a dot is stable when this peer and every counted peer have seen it. Only then may
//     its removal be forgotten (causal stability). A dot that none of them has seen becomes
//     stable, too, once its actor is quiescent and they have all seen the same dots of it for
//     five minutes.
//   - quiescent: an actor is quiescent when it is not up, none of its dots are in flight, and no
//     gap of it is being requested. Quiescent actors are retired (package clock).
//   - ended: an actor counts as ended when a later actor has its name, when no peer has counted
//     it for 15 s, or when it has been out of sight for ten minutes. A false claim about such an
//     actor suppresses no write.
//
// # The machines
//
// The engine passes each call on to one of these machines. Each machine has a file, its own state,
// and its own part of the state kept for each peer. A machine embeds the machines that it uses.
//
//	Engine        engine.go        calls the machines in their order
//	incoming      frame.go         one received frame, whose sections go to the machines
//	Members       members.go       the other peers, as the last SetView listed them
//	shared        shared.go        the store, the configuration, frames that leave
//	              path.go          whether packets reach each peer, found by probes
//	ClusterClock  clusterclock.go  offsets of the peers' clocks, and the latest timestamp
//	Beats         heartbeat.go     leases of workers
//	digests       digest.go        two peers compare hashes of their states
//	pushes        push.go          a new write is sent to all peers, or down a tree (tree.go)
//	repairs       repair.go        gaps are requested
//	acks          acks.go          which writes each peer has acknowledged
//	stability     stable.go        which dots are stable, and which actors are quiescent
//	syncs         sync.go          a peer fetches all that another has and it lacks
//	              retire.go        requests summarise the retired actors
//	reconciling   reconcile.go     equal contexts with different records are compared
//	              absence.go       when a peer is believed that a record is gone
//	witnesses     witness.go       when a peer is believed how much others have written
//
// A file without a name before it belongs to the machine above it.
//
// # How peers come to agree
//
// Four mechanisms bring all peers to the same state. Each is slower than the one before it, and
// repairs what that one missed.
//
//  1. Push: the writer sends deltas. Up to Config.Direct peers get them from the writer.
//     Larger clusters forward them down a tree that each peer computes from the writer's actor
//     and the members.
//  2. Gap repair: a later delta, or an announced head, shows a gap. The receiver requests it.
//  3. Sync: digests of two peers differ, so one fetches all records above its own context.
//  4. Reconciliation: the contexts are equal and the records differ, which the first three cannot
//     repair. A peer starts it when, for the second time in a row, a sync-request of another peer
//     has a context equal to its own and another checksum of the records. The difference is narrowed down to single records. A record that one of the peers
//     lacks, although it has seen the dot, is dropped by the other.
//
// # One sync
//
// Peer A has seen a digest of peer B that differs from its own, or a sync-request of B with dots that
// A lacks, and fetches what it lacks:
//
//  1. A sends a sync-request with its context. Retired actors are not listed: a hash over them
//     stands in their place.
//  2. B compares that hash with the hash of its own retired actors. If they differ, B answers with
//     hashes of smaller ranges of actors (parts), and A repeats the request with the actors
//     of the differing ranges listed, until B understands it.
//  3. B sends up to 512 KiB of live records that A's context does not contain (state), and ends the
//     answer with a sync-reply. Dots in flight are left out, since pushes bring them. B adds
//     them only to its last answer, when it also sends its context, and then as deltas, so that
//     A forwards them as it would have forwarded the push. A does not forward a large state.
//  4. While the sync-reply says that there is more, A requests the rest. B sends no gone record, so
//     A may count its dot as seen only once A also has the record that replaced it. Until the
//     sync ends, A therefore keeps a second context, its own and the dots that B's answers
//     cover, and requests with that. Such a request is flagged as partial.
//  5. If B has seen dots whose records are gone, its last sync-reply carries the actors in which its
//     context differs from A's. Now A has every live record of B, so any other dot in B's
//     context belongs to a record that is gone. A adopts the context: it counts these dots as
//     seen, and ignores a record that still arrives for one. A context with more than 16,384
//     differing actors comes in several replies.
//  6. A wrong context would suppress real writes. So A adopts it only when, for each actor of which it
//     names later dots than A has seen, the actor itself or a peer other than B has confirmed as
//     many writes, or the actor has ended. Until then A holds the context, and asks the actor
//     or another peer. A believes B at once about B's own writes, and about everything while no
//     other peer is up.
//
// Each sync-request that is not partial also acknowledges: it says which dots the sender has seen.
// So does a digest that is equal to the receiver's.
//
// A waits 500 ms for an answer, or twice as long as the last one took. It repeats a request
// once and then begins a sync with a random peer that is up, which may be B again. At most two
// syncs run at a time.
//
// # The messages
//
// A frame is a list of sections (frame.go has their layout). These are all sections that peers
// send to each other:
//
//   - deltas: new writes in the order of their dots, when Config.BatchInterval ends. The receiver
//     merges them and forwards the ones that are new to it down the tree. If the frame is lost,
//     heads or a later delta show a gap.
//   - heads: the heads of the actors whose deltas the sender has pushed to the receiver. They go 5 ms
//     after a burst, or 25 ms if its last deltas went by stream, and again until the receiver
//     acknowledges them, ten times at most. The receiver requests what it lacks. If all are
//     lost, the next digest differs. While a program waits for the replication of its writes
//     (RequestAcks), its peer sends the head of its own writes to all by stream, and repeats
//     that for 5 s.
//   - acks: for actors in received heads, up to which sequence number the sender has every
//     write. If they are lost, the heads are repeated.
//   - gaps: ranges of dots that the sender lacks, 20 ms after it learnt that they exist. The
//     receiver answers with deltas of their live records, and with a digest if some records are
//     gone. If request or answer is lost, the sender requests again, at growing intervals,
//     and from the fourth request on from a random peer.
//   - digest: a hash of the sender's context and records, its wall clock, a fingerprint of its
//     merge rules, its latest timestamp, and a hash of the members that it counts for stability. It goes
//     to a random peer every 200 ms to 5 s. If the state hashes are equal, the receiver
//     answers with its own digest. Otherwise it starts a sync. If a digest is lost, another
//     peer's digest finds the difference.
//   - sync-request, parts, state, sync-reply: see above. A lost message is made good by the
//     repeated request.
//   - sums, ranges, lists: the steps of a reconciliation. Sums are 256 checksums over records,
//     one for each shard of keys. Ranges split the differing shards in the order of dots,
//     and carry a count and a checksum each. Lists name the records in small ranges. The
//     receiver drops a record that a list lacks. Beyond 64 records within ten minutes, it does
//     so only when another peer confirms the absence, or when the sender has repeated it
//     for ten minutes. If a dot has two contents, the one with the greater hash stays. If a
//     message is lost, or a context changes meanwhile, the next digest starts anew.
//   - beats: the remaining lease times of the workers that the sender hosts, to every peer, every
//     Config.BeatInterval. If a message is lost, the next one replaces it. A worker whose lease
//     has run out is listed as unreachable while its host is down or silent.
//   - path: a numbered probe in a packet, or the answer to one. After four probes without an
//     answer, streams carry what packets would have carried. If a peer never answered a probe,
//     streams carry it from the second probe on.
//
// # Invariants
//
//	I1  A peer forwards a dot at most once, when the dot is new to it
//	    (TestTheTreeReachesEveryMemberOnce).
//	I2  A void is sent only in a section that also carries the record which superseded it
//	    (TestVoidsAloneAreRefused).
//	I3  Queues are bounded in bytes. If the queue for a peer overflows, this peer drops it and
//	    pushes nothing more to that peer until that peer has completed a sync with it
//	    (TestAPeerThatTakesNothingCostsABoundedQueue).
//	I4  A dot that a peer has seen is stable only if every counted peer has acknowledged
//	    it, and this peer has seen everything that those peers had seen by then
//	    (TestNothingIsStableWhileAKnownPeerIsAway).
//	I5  No delivery needs packets: where none pass, streams carry everything
//	    (TestPacketsAreAShortcutNotACondition, in internal/replica).
//	I6  No output depends on the order of a map: equal inputs give equal outputs
//	    (TestOutputIsAFunctionOfInput).
//
// Prior art: delta-state CRDTs and their join decompositions (Almeida et al. 2016,
// Enes et al. 2018), Scuttlebutt reconciliation (van Renesse et al. 2008),
// range-based set reconciliation (Meyer 2022), causal stability (Baquero et al. 2014).
package gossip

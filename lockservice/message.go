package lockservice

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Inst names one attempt to hold a lock. Its client makes it, uses it once, and alone may end
// it. The client of a bearer's lease is whoever knows its Inst, at any peer: therefore N is
// random and cannot be guessed from other instances.
type Inst struct {
	Node string   // name of the peer that made it
	Boot [16]byte // random bytes of that peer's process
	N    uint64   // random, not 0
}

// compare returns an arbitrary but fixed order of instances.
func (i Inst) compare(o Inst) int {
	return cmp.Or(cmp.Compare(i.Node, o.Node), slices.Compare(i.Boot[:], o.Boot[:]), cmp.Compare(i.N, o.N))
}

// String returns the node with the first bytes of Boot and N. It is safe to log: it holds too
// little to renew or release the instance.
func (i Inst) String() string { return fmt.Sprintf("%s.%x#%04x", i.Node, i.Boot[:2], i.N>>48) }

// Mode says whether a lock is held by one instance alone or by several.
type Mode uint8

// The modes of a lock.
const (
	Exclusive Mode = iota // one instance holds the lock
	Shared                // any number of shared instances hold the lock
)

// conflicts reports whether two instances may not hold a lock together.
func (m Mode) conflicts(o Mode) bool { return m == Exclusive || o == Exclusive }

// String returns exclusive or shared.
func (m Mode) String() string {
	if m == Shared {
		return "shared"
	}
	return "exclusive"
}

// Kind is the kind of a Message.
type Kind uint8

// The kinds of messages, between the roles of a client, an owner and an acceptor.
const (
	Acquire     Kind = iota + 1 // client to owner: queue the instance, whose client is alive
	Renew                       // client to owner: extend the lease, which the client holds
	Granted                     // owner to client: a majority certified the round
	Queued                      // owner to client: the instance waits, for Reason
	Contended                   // owner to client: the instance will not get the lock
	Redirect                    // owner to client: ask Hint
	Release                     // client to owner: the instance is dead
	Released                    // owner to client: a majority cleared the instance
	Accept                      // owner to acceptor: certify the round
	Ack                         // acceptor to owner: the round is certified
	Nack                        // acceptor to owner: the round is refused, for Reason
	Clear                       // owner to acceptor: the client released this instance
	Cleared                     // acceptor to owner: the instance has no record any more
	Status                      // any peer to acceptor: which records are there for the lock?
	StatusReply                 // acceptor to the peer that asked: the records
	Known                       // any peer to any: a Query
	KnownReply                  // the answer to a Known: the locks and clients known here
	Keep                        // client to acceptor: certify a round for every lease of the bundle Inst
	Kept                        // acceptor to client: the round is certified, or refused for Reason
	kinds
)

var kindNames = [kinds]string{"", "acquire", "renew", "granted", "queued", "contended", "redirect", "release", "released",
	"accept", "ack", "nack", "clear", "cleared", "status", "status-reply", "known", "known-reply", "keep", "kept"}

// String returns the kind in lower case.
func (k Kind) String() string {
	if k < kinds {
		return kindNames[k]
	}
	return "unknown"
}

// Reason says why a lock was refused or is not granted yet.
type Reason uint8

// The reasons of Nack, Queued and Contended.
const (
	NoReason    Reason = iota
	Behind             // other instances wait before this one
	Held               // Holder holds the lock, for Left longer
	TokenLow           // the token does not exceed Floor
	WrongEpoch         // the voter works by Epoch
	Quarantined        // the voter has just started; its quarantine lasts for Left
	TooLong            // the TTL is above the voter's MaxTTL
	WrongConfig        // the voter has another configuration for the same epoch
	Full               // a table of the voter is full
	Split              // several owners proposed at once, and none got a majority
	NoQuorum           // only Reachable voters of the Needed ones answer
	Overtaken          // another instance holds the lock that this one held
	Barred             // Config.Barred refuses the lock
	Gone               // the voter does not have this instance on record, or saw its release
	Differs            // the voter has other leases in the bundle on record
	reasons
)

var reasonNames = [reasons]string{"", "behind others", "held", "token too low", "another epoch", "quarantined", "ttl too long",
	"another configuration", "table full", "split vote", "no majority", "overtaken", "barred", "gone", "other leases"}

// String returns the reason in words.
func (r Reason) String() string {
	if r < reasons {
		return reasonNames[r]
	}
	return "unknown"
}

// Flags of a request.
const (
	flagTry    = 1 << iota // the owner answers Contended rather than queue the instance
	flagInsist             // the voter serves the request even if it is not the owner
	flagRenew              // the round extends a lease (only best-effort mode reads it)
	flagBearer             // the lease is a bearer's: any peer that knows the instance is its client
	flagResume             // an acceptor certifies only if it has exactly this instance on record (A9)
	flagOnly               // a Known asks about the lock in Lock alone
	flags      = iota
)

// after reports whether a receiver that knows round o of an instance takes round k as a new one.
// The lower half of a number counts the rounds of one peer. The upper half names the peer:
// it is 0 at the peer that made the instance, and random at a peer that resumed it. A round
// of another peer than that of o is always new, since no order is known between the two.
func after(k, o uint64) bool { return k>>32 != o>>32 || k > o }

// Message is a message from one role to another. Its Kind decides which fields it uses; see
// fieldsOf. All messages are idempotent: one that is lost, doubled, late or out of order costs
// time, and never safety.
type Message struct {
	Kind       Kind
	Mode       Mode
	Reason     Reason
	Flags      uint8
	Reachable  int
	Needed     int
	Waiting    int // length of the owner's queue; in a Known, the greatest number of locks of a page
	Lock       string
	Inst       Inst
	Round      uint64 // number of the round, see after; in Status and Known the ID of the call
	Token      uint64
	Floor      uint64 // highest token seen by the acceptor
	TTL        time.Duration
	Waited     time.Duration // time since the client first asked, by which a new owner rebuilds its queue
	Left       time.Duration
	Epoch      uint64
	Hash       uint64 // hash of the sender's configuration; sent once for each packet
	Bundle     uint64 // number of the bundle of its client that a lease is in; 0 for none
	Digest     uint64 // digest of the leases in a bundle, see digest
	Hint       string
	Holder     Inst
	Supersedes []Inst // instances that their own clients have released (O4)
	Holders    []Holder
	Known      []known
}

// Holder is an instance on record at a voter.
type Holder struct {
	Inst  Inst
	Mode  Mode
	Token uint64        // on record; after renewals it may be above the token of the lease (O2)
	Left  time.Duration // time until the record expires, which is after the holder's own deadline
}

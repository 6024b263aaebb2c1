package lockservice

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Inst names one attempt to hold a lock. Its client makes it, uses it once, and is the
// only one who may end it. Of a bearer lease the client is whoever has its name, at
// whatever peer: so nobody can guess N from the names of others.
type Inst struct {
	Node string   // the client's name
	Boot [16]byte // random, of this life of the client
	N    uint64   // random, not 0
}

// compare orders instances, in no meaningful way.
func (i Inst) compare(o Inst) int {
	return cmp.Or(cmp.Compare(i.Node, o.Node), slices.Compare(i.Boot[:], o.Boot[:]), cmp.Compare(i.N, o.N))
}

// String returns node#n with the first bytes of the life and of N: too little to speak for
// the instance.
func (i Inst) String() string { return fmt.Sprintf("%s.%x#%04x", i.Node, i.Boot[:2], i.N>>48) }

// Mode is how a lock is held.
type Mode uint8

// The modes of a lock.
const (
	Exclusive Mode = iota // by one
	Shared                // by many who all hold it shared
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

// Kind is what a Message says.
type Kind uint8

// The kinds of messages, between the roles of a client, an owner and an acceptor.
const (
	Acquire     Kind = iota + 1 // client to owner: queue me, I am alive
	Renew                       // client to owner: I hold it, extend it
	Granted                     // owner to client: a majority certified that round
	Queued                      // owner to client: not yet, and why
	Contended                   // owner to client: this instance will not get it
	Redirect                    // owner to client: ask Hint
	Release                     // client to owner: this instance is dead
	Released                    // owner to client: a majority cleared it
	Accept                      // owner to acceptor: certify this round
	Ack                         // acceptor to owner: certified
	Nack                        // acceptor to owner: refused, and why
	Clear                       // owner to acceptor: the client released this instance
	Cleared                     // acceptor to owner
	Status                      // any to acceptor: what do you hold
	StatusReply                 // acceptor to any
	Known                       // any to any: a Query
	KnownReply                  // any to any: what is known here
	kinds
)

var kindNames = [kinds]string{"", "acquire", "renew", "granted", "queued", "contended", "redirect", "release", "released",
	"accept", "ack", "nack", "clear", "cleared", "status", "status-reply", "known", "known-reply"}

// String returns the kind in lower case.
func (k Kind) String() string {
	if k < kinds {
		return kindNames[k]
	}
	return "unknown"
}

// Reason is why a lock was refused or is not there yet.
type Reason uint8

// The reasons of Nack, Queued and Contended.
const (
	NoReason    Reason = iota
	Behind             // others wait before this one
	Held               // Holder holds it, for Left longer
	TokenLow           // Floor is the highest seen
	WrongEpoch         // the voter is at Epoch
	Quarantined        // the voter has just started; Left of its silence remain
	TooLong            // the TTL is above the voter's MaxTTL
	WrongConfig        // same epoch, another configuration
	Full               // a table is full
	Split              // several owners proposed at once
	NoQuorum           // Reachable voters of Needed answer
	Overtaken          // another instance holds what this one held
	Barred             // Config.Barred: nobody is to hold it any more
	Gone               // the voter has not this instance on record, or saw its release
	reasons
)

var reasonNames = [reasons]string{"", "behind others", "held", "token too low", "another epoch", "quarantined", "ttl too long",
	"another configuration", "table full", "split vote", "no majority", "overtaken", "barred", "gone"}

// String returns the reason in words.
func (r Reason) String() string {
	if r < reasons {
		return reasonNames[r]
	}
	return "unknown"
}

// Flags of a request.
const (
	flagTry    = 1 << iota // answer Contended rather than queue
	flagInsist             // do not redirect
	flagRenew              // the round extends a lease (read in best-effort mode only)
	flagBearer             // whoever has the instance's name is its client
	flagResume             // only who has exactly this instance on record may certify it
	flagOnly               // of a Known: about this lock alone
	flags      = iota
)

// after reports whether a round of an instance is news to who knows of round o. The lower
// half of the number counts. The upper half is 0 of the peer that made the instance, and
// random of one that resumed it: their rounds have no order, and are never taken for each
// other.
func after(k, o uint64) bool { return k>>32 != o>>32 || k > o }

// Message is what roles say to each other. Which fields count depends on Kind, see
// fieldsOf. All are idempotent: a message lost, doubled, late or out of order
// costs time, never safety.
type Message struct {
	Kind       Kind
	Mode       Mode
	Reason     Reason
	Flags      uint8
	Reachable  int
	Needed     int
	Waiting    int // instances in the queue of an owner
	Lock       string
	Inst       Inst
	Round      uint64 // the client's number of it; see after
	Token      uint64
	Floor      uint64 // the highest token seen, in a Nack for TokenLow
	TTL        time.Duration
	Waited     time.Duration // since the client first asked; orders a queue that is rebuilt
	Left       time.Duration
	Epoch      uint64
	Hash       uint64 // of the sender's configuration; travels once a packet
	Hint       string
	Holder     Inst
	Supersedes []Inst // released by their own clients
	Holders    []Holder
	Known      []known
}

// Holder is an instance on record at a voter.
type Holder struct {
	Inst  Inst
	Mode  Mode
	Token uint64
	Left  time.Duration // of the record, which outlasts the holder's own deadline
}

package crdt

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Kind is the type of a key: what it holds and how concurrent writes merge.
type Kind uint8

// The kinds of a key.
const (
	Register Kind = iota + 1 // one value; the last write wins
	Set                      // unique values; concurrent adds win over removes
	Max                      // a number that only rises
	Counter                  // a number that goes up and down
	Object                   // named leaves, each of its own kind
	Custom                   // all concurrent values; the user's Resolver decides at each read
)

var kindNames = []string{"register", "set", "max", "counter", "object", "custom"}

// String returns the lower-case name of k.
func (k Kind) String() string { return nameOf(kindNames, uint8(k), "type") }

// ParseKind parses a name that [Kind.String] returns.
func ParseKind(s string) (Kind, error) {
	if i := slices.Index(kindNames, s); i >= 0 {
		return Kind(i + 1), nil
	}
	return 0, fmt.Errorf("no such type %q: want one of %s", s, strings.Join(kindNames, ", "))
}

// Verb says what an [Op] does.
type Verb uint8

// The verbs of an Op.
const (
	Put       Verb = iota + 1 // assign Value, by the key's kind
	Delete                    // remove the key, or what is at Path
	Add                       // add Values to a set
	Remove                    // remove Values from a set
	Increment                 // add Delta to a counter
	Bump                      // raise a max to Value
	Patch                     // merge Value, a map, into an object
	Expire                    // give what the key holds the deadline Expiry, or none if that is 0
)

var verbNames = []string{"put", "delete", "add", "remove", "increment", "bump", "patch", "expire"}

// String returns the lower-case name of v.
func (v Verb) String() string { return nameOf(verbNames, uint8(v), "verb") }

// Cause says why a [Change] happened.
type Cause uint8

// The causes of a Change.
const (
	CausePut      Cause = iota + 1 // the key, or a part of it, was written, or a part was removed
	CauseDelete                    // the key was deleted
	CauseExpired                   // the key, or part of it, reached its expiry
	CauseConflict                  // a concurrent write lost; the value did not change
)

var causeNames = []string{"put", "delete", "expired", "conflict"}

// String returns the lower-case name of c.
func (c Cause) String() string { return nameOf(causeNames, uint8(c), "cause") }

// nameOf returns the n-th name, counted from 1. A number without a name comes from a newer
// version; nameOf shows the number.
func nameOf(names []string, n uint8, what string) string {
	if n >= 1 && int(n) <= len(names) {
		return names[n-1]
	}
	return what + "(" + strconv.Itoa(int(n)) + ")"
}

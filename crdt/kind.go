package crdt

import (
	"fmt"
	"strconv"
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
	Custom                   // concurrent values, resolved by the user's function at read
)

var kindNames = [...]string{Register: "register", Set: "set", Max: "max", Counter: "counter", Object: "object", Custom: "custom"}

// String returns the lower-case name of k.
func (k Kind) String() string {
	if int(k) < len(kindNames) && k > 0 {
		return kindNames[k]
	}
	return "kind(" + strconv.Itoa(int(k)) + ")"
}

// ParseKind reads what [Kind.String] writes.
func ParseKind(s string) (Kind, error) {
	for k, name := range kindNames {
		if name == s && k > 0 {
			return Kind(k), nil
		}
	}
	return 0, fmt.Errorf("type %q: want register, set, max, counter, object or custom", s)
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
)

// Cause says why a [Change] happened.
type Cause uint8

// The causes of a Change.
const (
	CausePut      Cause = iota + 1 // a write, or part of the key was written or removed
	CauseDelete                    // the key is gone by a delete
	CauseExpired                   // the key, or part of it, reached its expiry
	CauseConflict                  // a concurrent write lost; the value did not change
)

// String returns the lower-case name of c.
func (c Cause) String() string {
	switch c {
	case CausePut:
		return "put"
	case CauseDelete:
		return "delete"
	case CauseExpired:
		return "expired"
	case CauseConflict:
		return "conflict"
	}
	return "unknown"
}

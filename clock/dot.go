package clock

import (
	"cmp"
	"fmt"
	"strconv"
	"time"
)

const maxMillis = 1<<48 - 1

// Actor is the identity of one life of a peer: its birth in Unix milliseconds
// (48 bits) and 64 random bits. Every start makes a new one, so a sequence
// number is never used twice. Actors are comparable and may be map keys.
type Actor struct {
	Birth uint64
	Rand  uint64
}

// NewActor returns the actor of a peer that starts now. random must differ
// between peers that start within one millisecond.
func NewActor(now time.Time, random uint64) Actor {
	return Actor{Birth: uint64(max(now.UnixMilli(), 0)) & maxMillis, Rand: random}
}

// Compare orders actors by birth, then by their random bits.
func (a Actor) Compare(b Actor) int {
	if c := cmp.Compare(a.Birth, b.Birth); c != 0 {
		return c
	}
	return cmp.Compare(a.Rand, b.Rand)
}

// IsZero reports whether a is the zero Actor, which is the actor of no peer.
func (a Actor) IsZero() bool { return a == Actor{} }

// String returns a as 12 hex digits, a dash, and 16 hex digits.
func (a Actor) String() string { return fmt.Sprintf("%012x-%016x", a.Birth, a.Rand) }

// ParseActor reads what [Actor.String] writes.
func ParseActor(s string) (Actor, error) {
	if len(s) == 29 && s[12] == '-' {
		birth, err1 := strconv.ParseUint(s[:12], 16, 64)
		random, err2 := strconv.ParseUint(s[13:], 16, 64)
		if err1 == nil && err2 == nil {
			return Actor{birth, random}, nil
		}
	}
	return Actor{}, fmt.Errorf("actor %q: want 12 hex digits, a dash and 16 hex digits", s)
}

// MarshalText returns [Actor.String], so that actors can be values and map keys in JSON.
func (a Actor) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText sets a to what [ParseActor] returns, the zero Actor on an error.
func (a *Actor) UnmarshalText(b []byte) (err error) {
	*a, err = ParseActor(string(b))
	return err
}

// MaxSeq is the greatest sequence number that is read from another peer. It is far below
// 2^64, so that the sum of two sequence numbers never wraps around.
const MaxSeq = 1 << 62

// Dot is the identity of one write: the Seq-th of its Actor, counted from 1.
type Dot struct {
	Actor Actor
	Seq   uint64
}

// Compare orders dots by actor, then by sequence number.
func (d Dot) Compare(e Dot) int {
	return cmp.Or(d.Actor.Compare(e.Actor), cmp.Compare(d.Seq, e.Seq))
}

// IsZero reports whether d is the zero Dot, which names no write.
func (d Dot) IsZero() bool { return d == Dot{} }

// String returns "actor:seq".
func (d Dot) String() string { return d.Actor.String() + ":" + strconv.FormatUint(d.Seq, 10) }

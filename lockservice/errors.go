package lockservice

import (
	"errors"
	"fmt"
	"time"
)

// Errors to compare with errors.Is. After any error of an acquisition its instance is dead, so
// the caller never has to ask whether it holds the lock after all.
var (
	ErrHeld           = errors.New("held by another")
	ErrTimeout        = errors.New("not acquired in time")
	ErrUnavailable    = errors.New("no majority of voters")
	ErrLost           = errors.New("lease lost")
	ErrExpired        = errors.New("its time ran out before a majority renewed it")
	ErrLapsed         = fmt.Errorf("%w through this peer, and it may go on at another", ErrExpired) // of a bearer's lease
	ErrConflict       = errors.New("another instance holds the lock")
	ErrReleased       = errors.New("it was released, at this peer or another")
	ErrNotHolder      = errors.New("not the holder")
	ErrName           = errors.New("invalid lock name")
	ErrTTLTooLong     = errors.New("ttl too long")
	ErrTTLTooShort    = errors.New("ttl too short")
	ErrConfigMismatch = errors.New("voters disagree about their configuration")
	ErrVoters         = errors.New("invalid list of voters")
	ErrReload         = errors.New("voters not changed")
	ErrBarred         = errors.New("a majority of voters certifies it no more")
	ErrFull           = errors.New("a table of the voter is full")
	ErrClosed         = errors.New("the session is closed")
)

// HeldError says who holds the lock that TryLock asked for.
type HeldError struct {
	Lock   string
	Holder string        // name of the peer that holds it, "" if the owner does not know
	Left   time.Duration // when the lease ends at the latest, unless it is renewed
}

// Error names the holder.
func (e *HeldError) Error() string {
	if e.Holder == "" {
		return fmt.Sprintf("lock %q is held, or others wait for it", e.Lock)
	}
	return fmt.Sprintf("lock %q is held by %s for up to %v", e.Lock, e.Holder, e.Left.Round(time.Millisecond))
}

// Is reports whether target is ErrHeld.
func (e *HeldError) Is(target error) bool { return target == ErrHeld }

// UnavailableError says that too few voters answered.
type UnavailableError struct {
	Lock       string
	Reachable  int           // number of voters that answered; those that are up in this peer's view if none was asked
	Needed     int           // number of voters in a majority
	Silent     []string      // voters that this peer asked itself and that have not answered
	Quarantine time.Duration // time until a voter that has just started takes part, 0 if none is known
	Cause      error         // cause of the context that ended the wait, or nil
}

// Error names the numbers.
func (e *UnavailableError) Error() string {
	s := fmt.Sprintf("lock %q: %d of %d voters needed for a majority are reachable", e.Lock, e.Reachable, e.Needed)
	if e.Reachable >= e.Needed {
		s = fmt.Sprintf("lock %q: the %d voters needed for a majority did not answer in time", e.Lock, e.Needed)
	}
	if e.Quarantine > 0 {
		s += fmt.Sprintf("; one that has just started takes part in %v", e.Quarantine.Round(time.Millisecond))
	}
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Is reports whether target is ErrUnavailable.
func (e *UnavailableError) Is(target error) bool { return target == ErrUnavailable }

// Unwrap returns Cause.
func (e *UnavailableError) Unwrap() error { return e.Cause }

// LostError says why a lease ended before its holder released it: ErrExpired, ErrLapsed,
// ErrConflict, ErrReleased or ErrClosed.
type LostError struct {
	Lock  string
	Token uint64
	Cause error
}

// Error names the lock and the cause.
func (e *LostError) Error() string {
	return fmt.Sprintf("lease on %q with token %d lost: %v", e.Lock, e.Token, e.Cause)
}

// Is reports whether target is ErrLost.
func (e *LostError) Is(target error) bool { return target == ErrLost }

// Unwrap returns the cause.
func (e *LostError) Unwrap() error { return e.Cause }

// TTLError says which TTL was refused and what is allowed.
type TTLError struct{ TTL, Least, Most time.Duration }

// Error names the limits.
func (e *TTLError) Error() string {
	return fmt.Sprintf("ttl %v: allowed are %v to %v", e.TTL, e.Least, e.Most)
}

// Is reports whether target is ErrTTLTooLong or ErrTTLTooShort, whichever holds for e.
func (e *TTLError) Is(target error) bool {
	return target == ErrTTLTooLong && e.TTL > e.Most || target == ErrTTLTooShort && e.TTL < e.Least
}

// NameError says what is wrong with the name of a lock.
type NameError struct{ Name, Reason string }

// Error gives the name and the reason.
func (e *NameError) Error() string { return fmt.Sprintf("lock name %q: %s", e.Name, e.Reason) }

// Is reports whether target is ErrName.
func (e *NameError) Is(target error) bool { return target == ErrName }

// MismatchError says that a voter works by another configuration.
type MismatchError struct {
	Lock        string
	Epoch       uint64 // epoch of this peer's voters
	TheirEpoch  uint64 // epoch of the voter that refused
	Explanation string
}

// Error names both epochs.
func (e *MismatchError) Error() string {
	return fmt.Sprintf("lock %q: this peer has voters of epoch %d, the other of epoch %d: %s", e.Lock, e.Epoch, e.TheirEpoch, e.Explanation)
}

// Is reports whether target is ErrConfigMismatch.
func (e *MismatchError) Is(target error) bool { return target == ErrConfigMismatch }

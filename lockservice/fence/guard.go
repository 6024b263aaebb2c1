package fence

import (
	"context"
	"errors"
	"fmt"
)

// Guard refuses stale tokens of a resource. After any error of Check the write must not happen: a
// *StaleError says that a later holder was seen, ErrToken that token is out of range, and every
// other error that the guard could not tell.
type Guard interface {
	Check(ctx context.Context, resource string, token uint64) error
}

// ErrStale matches every *StaleError with errors.Is.
var ErrStale = errors.New("stale fencing token")

// ErrToken says that a number is no fencing token: they are 1 to 2^53-1.
var ErrToken = errors.New("not a fencing token")

// StaleError says that a holder with a higher token was seen before.
type StaleError struct {
	Resource       string
	Token, Highest uint64
}

// Error names both tokens.
func (e *StaleError) Error() string {
	return fmt.Sprintf("%q: fencing token %d is stale: a holder with %d has been here", e.Resource, e.Token, e.Highest)
}

// Is reports whether target is ErrStale.
func (e *StaleError) Is(target error) bool { return target == ErrStale }

const (
	maxToken         = 1<<53 - 1
	maxResourceBytes = 300
)

func validate(resource string, token uint64) error {
	if token == 0 || token > maxToken {
		return fmt.Errorf("%q: %w: %d; they are 1 to 2^53-1", resource, ErrToken, token)
	}
	if resource == "" || len(resource) > maxResourceBytes {
		return fmt.Errorf("a resource with a name of %d bytes; allowed are 1 to %d", len(resource), maxResourceBytes)
	}
	return nil
}

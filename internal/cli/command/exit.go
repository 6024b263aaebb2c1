package command

import (
	"errors"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

// ExitError is an error with an exit code of its own.
type ExitError struct {
	Code int
	Err  error
}

// ErrShown is a failure that the user has been shown already.
var ErrShown = errors.New("it has been shown")

func (e *ExitError) Error() string { return e.Err.Error() }

func (e *ExitError) Unwrap() error { return e.Err }

// Exit is err, with an exit code of its own.
func Exit(code int, err error) error { return &ExitError{code, err} }

// Usage is err, as a fault of the command line.
func Usage(err error) error { return Exit(api.ExitUsage, err) }

// Unhealthy is err, of a cluster or a peer that is not well.
func Unhealthy(err error) error { return Exit(api.ExitUnhealthy, err) }

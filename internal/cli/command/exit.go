package command

import (
	"errors"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

// ExitError is an error that ends the process with an exit code of its own.
type ExitError struct {
	Code int
	Err  error
}

// ErrShown is the error of a command that has already shown the user what failed.
var ErrShown = errors.New("it has been shown")

func (e *ExitError) Error() string { return e.Err.Error() }

func (e *ExitError) Unwrap() error { return e.Err }

// Exit returns err with an exit code.
func Exit(code int, err error) error { return &ExitError{code, err} }

// Usage returns err as a fault in the command line.
func Usage(err error) error { return Exit(api.ExitUsage, err) }

// Unhealthy returns err as the state of a cluster or peer that is not healthy.
func Unhealthy(err error) error { return Exit(api.ExitUnhealthy, err) }

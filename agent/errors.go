package agent

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sentinel-peer/sentinel-peer/gossip"
	"github.com/sentinel-peer/sentinel-peer/internal/memory"
	"github.com/sentinel-peer/sentinel-peer/internal/replica"
)

// Errors to compare with errors.Is. Besides them, writes return *crdt.KeyError,
// *crdt.TypeError, *crdt.ConflictError, *crdt.OrderError, *crdt.FullError and *crdt.ValueError.
var (
	ErrClosed         = memory.ErrClosed
	ErrNotFound       = memory.ErrNotFound
	ErrAlive          = errors.New("the peer is alive")
	ErrFaultsDisabled = errors.New("fault injection is off; it is a development option of Config")
	ErrClockSkew      = replica.ErrClockSkew
	ErrTooManyWorkers = gossip.ErrTooManyWorkers // beat through this peer
	ErrRotated        = memory.ErrRotated
)

// ReplicationError says how far WaitReplicated got when its context ended. Every
// write is still on this peer, and goes on spreading.
type ReplicationError struct {
	Want, Have int
	Missing    []string // live peers that have not acknowledged
	Err        error    // the context's
}

// Error names the numbers and the peers.
func (e *ReplicationError) Error() string {
	missing := "no other peer is up"
	if len(e.Missing) > 0 {
		missing = "waiting for " + strings.Join(e.Missing, ", ")
	}
	return fmt.Sprintf("%d of %d peers have acknowledged, %s: %v", e.Have, e.Want, missing, e.Err)
}

// Unwrap returns the context's error.
func (e *ReplicationError) Unwrap() error { return e.Err }

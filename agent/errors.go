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
	ErrClosed         = memory.ErrClosed                                                           // the agent was closed
	ErrNotFound       = memory.ErrNotFound                                                         // the key, worker, task or peer is not known
	ErrAlive          = errors.New("the peer is alive")                                            // Forget of a peer that is up
	ErrFaultsDisabled = errors.New("fault injection is off; it is a development option of Config") // Cut without Config.Faults
	ErrClockSkew      = replica.ErrClockSkew                                                       // this peer's clock is too far ahead of the other peers' clocks
	ErrTooManyWorkers = gossip.ErrTooManyWorkers                                                   // too many workers send heartbeats through this peer
	ErrInUpdate       = memory.ErrInUpdate                                                         // the function of Update called a peer
	ErrRotated        = memory.ErrRotated                                                          // a copy of this peer turned up during a wait
)

// ReplicationError says how many peers have acknowledged when a wait for acknowledgements ended. No
// write is undone: each is in this peer's replica and continues to spread.
type ReplicationError struct {
	Want, Have int      // numbers of other peers
	Missing    []string // names of the peers that are up and have not acknowledged
	Err        error    // error of the context that ended the wait
}

// Error gives the numbers and names the peers.
func (e *ReplicationError) Error() string {
	missing := "no other peer is up"
	if len(e.Missing) > 0 {
		missing = "waiting for " + strings.Join(e.Missing, ", ")
	}
	return fmt.Sprintf("%d of %d peers have acknowledged, %s: %v", e.Have, e.Want, missing, e.Err)
}

// Unwrap returns the error of the context.
func (e *ReplicationError) Unwrap() error { return e.Err }

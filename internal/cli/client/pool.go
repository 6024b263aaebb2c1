package client

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"

	"github.com/sentinel-peer/sentinel-peer/internal/cli/command"
)

// pool is the addresses of daemons, of which one is asked for as long as it answers.
type pool struct {
	addrs []string
	turn  atomic.Int64
}

// daemon is the address that is asked next.
func (c *Client) daemon() string {
	if c.Pool == nil {
		return c.Addr
	}
	return c.Pool.addrs[c.Pool.turn.Load()%int64(len(c.Pool.addrs))]
}

// Size is how many they are.
func (p *pool) Size() int {
	if p == nil {
		return 1
	}
	return len(p.addrs)
}

// leave has the one behind addr asked next, unless somebody has left addr already.
func (p *pool) leave(addr string) {
	if p.Size() == 1 {
		return
	}
	if turn := p.turn.Load(); p.addrs[turn%int64(len(p.addrs))] == addr {
		p.turn.CompareAndSwap(turn, turn+1)
	}
}

// Bearer is the client for what names a lease, which every daemon of the cluster renews,
// ends and completes.
func (c *Client) Bearer() *Client {
	b := *c
	b.bearing = true
	return &b
}

// exhausted is the failure of all, of which the last failed with err.
func (p *pool) exhausted(err error) error {
	if e, ok := errors.AsType[*command.ExitError](err); ok && p.Size() > 1 {
		return command.Exit(e.Code, fmt.Errorf("none of %s can do it; the last: %w", strings.Join(p.addrs, ", "), e.Err))
	}
	return err
}

// unsent says that the daemon did not get the request: there was no connection.
func unsent(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// Stopping says that a daemon refused a request because it stops, and did nothing.
func Stopping(err error) bool {
	refused, ok := errors.AsType[*Refusal](err)
	return ok && refused.Code == "closed"
}

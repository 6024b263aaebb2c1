package client

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"

	"github.com/sentinel-peer/sentinel-peer/internal/cli/command"
)

// pool holds the addresses of several daemons. One of them is asked for as long as it answers.
type pool struct {
	addrs []string
	turn  atomic.Int64 // the index of that one, modulo the number of addresses
}

// daemon returns the address to ask next.
func (c *Client) daemon() string {
	if c.Pool == nil {
		return c.Addr
	}
	return c.Pool.addrs[c.Pool.turn.Load()%int64(len(c.Pool.addrs))]
}

// Size returns the number of addresses.
func (p *pool) Size() int {
	if p == nil {
		return 1
	}
	return len(p.addrs)
}

// leave makes the address after addr the next to ask, unless another caller has left addr already.
func (p *pool) leave(addr string) {
	if p.Size() == 1 {
		return
	}
	if turn := p.turn.Load(); p.addrs[turn%int64(len(p.addrs))] == addr {
		p.turn.CompareAndSwap(turn, turn+1)
	}
}

// Bearer returns a client for requests that name a lease. Every daemon of the cluster can
// renew, end and complete a lease, so that the client may repeat such a request at another.
func (c *Client) Bearer() *Client {
	b := *c
	b.bearing = true
	return &b
}

// exhausted returns the error of all daemons. The last of them failed with err.
func (p *pool) exhausted(err error) error {
	if e, ok := errors.AsType[*command.ExitError](err); ok && p.Size() > 1 {
		return command.Exit(e.Code, fmt.Errorf("none of %s can do it; the last: %w", strings.Join(p.addrs, ", "), e.Err))
	}
	return err
}

// unsent reports whether no connection was made, so that the daemon did not get the request.
func unsent(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// Stopping reports whether the daemon refused a request without effect because it is stopping.
func Stopping(err error) bool {
	refused, ok := errors.AsType[*Refusal](err)
	return ok && refused.Code == "closed"
}

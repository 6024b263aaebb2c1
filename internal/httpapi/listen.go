package httpapi

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

// Listen opens addr for Serve; callers wait until Serve begins. The address may be beyond loopback
// only if the server will have tokens and TLS, or tokens in a network that the user trusts.
func Listen(addr string, open bool) (net.Listener, error) {
	if err := loopback(addr); err != nil && !open {
		return nil, err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("http: %w", err)
	}
	return l, nil
}

// loopback refuses an address that others could reach.
func loopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("http address %q: want host:port", addr)
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("http address %q: without tokens and TLS the server listens on loopback only; want 127.0.0.1:port, or a token file, a certificate and its key", addr)
}

// door is a listener that bounds its connections. Of those beyond the bound, it lets some in to be
// told so and to ask for health, and closes the others. It cannot let them wait, since those that
// have the places may never go.
type door struct {
	net.Listener
	clients *clients
	stats   *counters
	places  *api.Shares
	spare   *api.Shares
}

// spareConnections are kept for clients without a place; spareEach is how many of them one address
// may have.
const (
	spareConnections = 256
	spareEach        = 16
)

func newDoor(l net.Listener, stats *counters, limits Limits) *door {
	each := max(limits.Connections/limits.Share, 1)
	return &door{Listener: l, clients: &clients{byAddress: map[string]*client{}}, stats: stats,
		places: api.NewShares("connections", limits.Connections, each), spare: api.NewShares("connections", spareConnections, spareEach)}
}

// Accept returns a *conn.
func (d *door) Accept() (net.Conn, error) {
	for {
		c, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
		from := d.places
		full := from.Take(host)
		if full != nil {
			from = d.spare
		}
		if full == nil || from.Take(host) == nil {
			return &conn{Conn: c, door: d, client: d.clients.arrive(host), address: host, place: from, full: full}, nil
		}
		d.stats.refuse("connections")
		c.Close()
	}
}

// conn is a connection that was let in.
type conn struct {
	net.Conn
	door    *door
	address string
	client  *client // the address; a request with a token belongs to the client of that token
	place   *api.Shares
	full    error // why the connection has only a spare place; nil if it has a full one
	once    sync.Once
	asking  atomic.Bool // bytes of a request have arrived that no handler has seen yet
}

// Close closes the connection and gives its place back.
func (c *conn) Close() error {
	c.once.Do(func() {
		c.place.Give(c.address)
		c.door.clients.leave(c.address)
	})
	return c.Conn.Close()
}

// CloseWrite ends the sending side, so that a client that still sends can read why it was refused.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

type connKey struct{}

func (d *door) inContext(ctx context.Context, nc net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, d.ours(nc))
}

// connOf returns the connection of a request.
func connOf(ctx context.Context) *conn {
	c, _ := ctx.Value(connKey{}).(*conn)
	return c
}

// ours returns the connection that a net/http connection wraps.
func (d *door) ours(nc net.Conn) *conn {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	c, _ := nc.(*conn)
	return c
}

// changed is called by net/http when the state of a connection changes. A request that ends before
// a handler has seen it was refused by net/http: its header was malformed, too large or too slow.
func (d *door) changed(nc net.Conn, state http.ConnState) {
	c := d.ours(nc)
	switch state {
	case http.StateActive:
		c.asking.Store(true)
	case http.StateClosed:
		if c.asking.Swap(false) {
			d.stats.refuse("malformed")
		}
	}
}

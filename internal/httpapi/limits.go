package httpapi

import (
	"cmp"
	"net/http"
	"sync"
	"sync/atomic"

	"golang.org/x/time/rate"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

// Limits bounds what clients take of a server. A client is a token, or an IP address if requests
// need no token. A zero field has the default of withDefaults.
type Limits struct {
	Connections int // greatest number of open connections
	Requests    int // greatest number of running requests that do not wait
	Streams     int // greatest number of event streams and of requests that wait for a lock or an item
	// Share divides Requests and Streams for each client, and Connections for each address: one of
	// them may have 1/Share. The last of each is kept for clients that have few; see api.Kept.
	Share int
	// Rate is how many requests one client may make per second, and at once after a pause; 0 sets
	// no limit.
	Rate int
	// Bodies is how many bytes of bodies over 64 KiB may be read at once.
	Bodies int64
}

func (l Limits) withDefaults() Limits {
	l.Connections = cmp.Or(l.Connections, 10_000)
	l.Requests = cmp.Or(l.Requests, 1_024)
	l.Streams = cmp.Or(l.Streams, 8_192)
	l.Share = cmp.Or(l.Share, 2)
	l.Bodies = cmp.Or(l.Bodies, 256<<20)
	return l
}

const smallBody = 64 << 10

// client is a client of the server.
type client struct {
	requests, streams atomic.Int64
	bucket            atomic.Pointer[rate.Limiter] // made at the first request
	connections       int                          // open connections, for an address; guarded by clients.mu
}

func newClient() *client { return &client{} }

// clients are the addresses that have connections, and those that had some a short time ago.
type clients struct {
	mu        sync.Mutex
	byAddress map[string]*client
}

// maxAddresses is how many addresses are remembered. Beyond it, those without a connection are
// forgotten.
const maxAddresses = 10_000

func (cs *clients) arrive(address string) *client {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.byAddress[address]
	if c == nil {
		if len(cs.byAddress) >= maxAddresses {
			for a, c := range cs.byAddress {
				if c.connections == 0 {
					delete(cs.byAddress, a)
				}
			}
		}
		c = newClient()
		cs.byAddress[address] = c
	}
	c.connections++
	return c
}

func (cs *clients) leave(address string) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.byAddress[address].connections--
}

// load is the number of requests, streams and bodies at the moment.
type load struct {
	Limits
	requests, streams, bodies atomic.Int64
}

// place is the place of one request among those under way.
type place struct {
	load   *load
	client *client
	stream bool
}

// enter takes a place for a request of client c.
func (l *load) enter(c *client, stream bool) (place, *Problem) {
	if l.Rate > 0 && !c.limiter(l.Rate).Allow() {
		return place{}, tooMany("over %d requests in a second", l.Rate)
	}
	p := place{l, c, stream}
	return p, p.take()
}

func (c *client) limiter(each int) *rate.Limiter {
	if b := c.bucket.Load(); b != nil {
		return b
	}
	c.bucket.CompareAndSwap(nil, rate.NewLimiter(rate.Limit(each), each))
	return c.bucket.Load()
}

func (p *place) counters() (all, own *atomic.Int64, most int, what string) {
	if p.stream {
		return &p.load.streams, &p.client.streams, p.load.Streams, "streams and waits"
	}
	return &p.load.requests, &p.client.requests, p.load.Requests, "requests"
}

func (p *place) take() *Problem {
	all, own, most, what := p.counters()
	each, refused := max(most/p.load.Share, 1), (*Problem)(nil)
	kept, few := api.Kept(most)
	switch has, taken := int(own.Add(1)), int(all.Add(1)); {
	case has > each:
		refused = tooMany("over %d %s at once", each, what)
	case taken > most:
		refused = busy("%d %s are under way, which is the most", most, what)
	case taken > most-kept && has > few:
		refused = tooMany("the last of %d %s are kept for clients that have fewer than %d", most, what, few)
	}
	if refused != nil {
		p.leave()
	}
	return refused
}

func (p *place) leave() {
	all, own, _, _ := p.counters()
	all.Add(-1)
	own.Add(-1)
}

// linger counts a request among the streams from now on, because it will wait.
func (p *place) linger() *Problem {
	if p.stream {
		return nil
	}
	long := place{p.load, p.client, true}
	if refused := long.take(); refused != nil {
		return refused
	}
	p.leave()
	*p = long
	return nil
}

// reserve makes room for a body, and returns the function that gives the room back.
func (l *load) reserve(r *http.Request) (free func(), err error) {
	size := r.ContentLength
	if size < 0 || size > maxBody {
		size = maxBody
	}
	if size <= smallBody {
		return func() {}, nil
	}
	if l.bodies.Add(size) > l.Bodies {
		l.bodies.Add(-size)
		return nil, busy("bodies of %d MiB are being read, which is the most", l.Bodies>>20)
	}
	return func() { l.bodies.Add(-size) }, nil
}

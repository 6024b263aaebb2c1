package transport

import (
	"net"
	"net/netip"
	"slices"
	"sync"
)

// Bounds of the accepted connections that have not proven themselves yet. The next one is
// closed at once. Who comes from an address where a member lives has places that strangers
// cannot take.
const (
	maxPending      = 256
	maxStrangers    = 192 // of these, from addresses where no member lives
	maxEachStranger = 16  // of these, from one such address
	maxEachMember   = 64  // from one where a member lives
)

// places are those of the connections that have not proven themselves yet. When strangers
// have all that they may, who holds most gives way to who holds less: it takes as many
// addresses as there are places to keep a newcomer out, not a dozen.
type places struct {
	lives func(ip netip.Addr) bool // whether a member does

	mu    sync.Mutex                // guards what follows
	held  map[netip.Addr][]*muxConn // by where they come from, the eldest first
	taken int
}

func newPlaces() *places { return &places{held: make(map[netip.Addr][]*muxConn)} }

// enter gives a newcomer a place, and reports whether there is one for it; evicted, if any,
// has lost its own and is to be closed.
func (p *places) enter(c *muxConn) (evicted *muxConn, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.held[c.from])
	if p.taken >= maxStrangers || n >= maxEachStranger {
		switch {
		case p.lives(c.from):
			ok = p.taken < maxPending && n < maxEachMember
		case n < maxEachStranger:
			evicted = p.greediest(c.from)
			ok = evicted != nil
		}
		if !ok {
			return nil, false
		}
		if evicted != nil {
			p.remove(evicted)
		}
	}
	p.held[c.from] = append(p.held[c.from], c)
	p.taken++
	return evicted, true
}

// greediest returns the eldest connection from the network of strangers that holds most,
// if that is more than the newcomer's would hold with one place more.
func (p *places) greediest(newcomer netip.Addr) *muxConn {
	share := make(map[netip.Prefix]int)
	var most netip.Addr
	for ip, list := range p.held {
		net := networkOf(ip)
		share[net] += len(list)
		if share[net] > share[networkOf(most)] && !p.lives(ip) {
			most = ip
		}
	}
	if share[networkOf(most)] <= share[networkOf(newcomer)]+1 {
		return nil
	}
	return p.held[most][0]
}

// networkOf is what one owner has for certain: an address of IPv4, or 64 bits of IPv6.
func networkOf(ip netip.Addr) netip.Prefix {
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	net, _ := ip.Prefix(bits)
	return net
}

// leave gives the place of a connection back, if it has one.
func (p *places) leave(c *muxConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remove(c)
}

func (p *places) remove(c *muxConn) {
	i := slices.Index(p.held[c.from], c)
	if i < 0 {
		return
	}
	p.taken--
	if p.held[c.from] = slices.Delete(p.held[c.from], i, i+1); len(p.held[c.from]) == 0 {
		delete(p.held, c.from)
	}
}

func ipOf(a net.Addr) netip.Addr {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.IPv6Unspecified() // they share one bound
	}
	return ap.Addr().Unmap()
}

package transport

import (
	"net"
	"net/netip"
	"slices"
	"sync"
)

// Bounds of the accepted connections that are not proven. A connection beyond them is closed at
// once. Strangers cannot take the places that are left for addresses of members.
const (
	maxPending      = 256 // all places
	maxStrangers    = 192 // places that addresses without a member can take
	maxEachStranger = 16  // places of one address without a member
	maxEachMember   = 64  // places of one address with a member
)

// places holds the accepted connections that are not proven. When strangers have all their
// places, the network that holds most of them loses one to a newcomer that holds fewer: to
// keep newcomers out, an attacker needs as many networks as there are places, and not a dozen
// addresses.
type places struct {
	lives func(ip netip.Addr) bool // reports whether a member has this address

	mu    sync.Mutex                // guards held and taken
	held  map[netip.Addr][]*muxConn // by the address from which they come, the oldest first
	taken int                       // number of connections in held
}

func newPlaces() *places { return &places{held: make(map[netip.Addr][]*muxConn)} }

// enter gives an accepted connection a place, and reports whether there was one. If evicted is not
// nil, that connection has lost its place, and the caller closes it.
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

// greediest returns the oldest connection from the network of strangers that holds most places, or
// nil if that is no more than the newcomer's network would hold with one more.
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

// networkOf returns the smallest network that one owner usually has: one IPv4 address, or the 64-bit
// prefix of an IPv6 address.
func networkOf(ip netip.Addr) netip.Prefix {
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	net, _ := ip.Prefix(bits)
	return net
}

// leave gives back the place of a connection, if it has one.
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
		return netip.IPv6Unspecified() // connections without an IP address share one bound
	}
	return ap.Addr().Unmap()
}

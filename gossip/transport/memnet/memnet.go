package memnet

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// Network carries packets and streams between the addresses that listen on it.
type Network struct {
	mu        sync.Mutex // guards the fields below
	rng       *rand.Rand
	nodes     map[string]*node
	conns     map[*stream]struct{} // both ends of each connection
	cuts      map[route]struct{}
	blocks    map[route]struct{} // routes that carry no packets
	fate      fate
	nextPort  uint16
	sent      Traffic
	recording bool
	recorded  []Recorded
}

type route struct{ from, to string }

type fate struct {
	loss, duplicate, reorder float64
	min, max                 time.Duration
}

// Traffic counts the packets and bytes that were passed to the network, delivered or not.
type Traffic struct{ Packets, PacketBytes, StreamBytes uint64 }

// New returns a network without faults. The seed determines the fates of packets.
func New(seed uint64) *Network {
	return &Network{
		rng:      rand.New(rand.NewPCG(seed, 0x6d656d6e6574)),
		nodes:    make(map[string]*node),
		conns:    make(map[*stream]struct{}),
		cuts:     make(map[route]struct{}),
		blocks:   make(map[route]struct{}),
		nextPort: 40000,
	}
}

func (n *Network) set(f func(*fate)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f(&n.fate)
}

// SetLoss drops each packet with probability p.
func (n *Network) SetLoss(p float64) { n.set(func(f *fate) { f.loss = p }) }

// SetDuplicate delivers each packet twice with probability p.
func (n *Network) SetDuplicate(p float64) { n.set(func(f *fate) { f.duplicate = p }) }

// SetReorder holds each packet back with probability p, long enough for later
// ones to overtake it.
func (n *Network) SetReorder(p float64) { n.set(func(f *fate) { f.reorder = p }) }

// SetDelay makes each packet, and each piece of a stream, take between least and most.
func (n *Network) SetDelay(least, most time.Duration) {
	n.set(func(f *fate) { f.min, f.max = least, max(least, most) })
}

// Cut makes the address from unheard by the address to. What is under way still arrives, and
// streams between the two break.
func (n *Network) Cut(from, to string) {
	n.mu.Lock()
	n.cuts[route{from, to}] = struct{}{}
	var broken []*stream
	for c := range n.conns {
		if c.between(from, to) {
			broken = append(broken, c)
		}
	}
	n.mu.Unlock()
	for _, c := range broken {
		c.reset()
	}
}

// Block drops the packets from one address to another, as a firewall does that is open for TCP
// only. Streams go on.
func (n *Network) Block(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.blocks[route{from, to}] = struct{}{}
}

// Split cuts every address of one side off from every address of the other, in both directions.
func (n *Network) Split(one, other []string) {
	for _, a := range one {
		for _, b := range other {
			n.Cut(a, b)
			n.Cut(b, a)
		}
	}
}

// Heal ends every cut and block. Loss, duplication, reordering and delay stay.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cuts)
	clear(n.blocks)
}

// Sent returns the traffic so far.
func (n *Network) Sent() Traffic {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sent
}

// Listen opens an address of the form ip:port; port 0 takes a free port. Shutdown of the transport
// frees the address.
func (n *Network) Listen(addr string) (memberlist.NodeAwareTransport, error) {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, fmt.Errorf("memnet: listen %q: %w", addr, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for ap.Port() == 0 {
		n.nextPort++
		if free := netip.AddrPortFrom(ap.Addr(), n.nextPort); n.nodes[free.String()] == nil {
			ap = free
		}
	}
	addr = ap.String()
	if n.nodes[addr] != nil {
		return nil, fmt.Errorf("memnet: listen %q: address already in use", addr)
	}
	d := &node{
		net:     n,
		addr:    address(addr),
		at:      ap,
		inbox:   make(chan *memberlist.Packet, 4096), // like the buffer of a socket: packets are dropped when it is full
		packets: make(chan *memberlist.Packet),
		streams: make(chan net.Conn, 128), // like the backlog of a listener: connections are refused when it is full
		done:    make(chan struct{}),
	}
	n.nodes[addr] = d
	d.wg.Add(1)
	go d.deliver()
	return d, nil
}

type address string

func (a address) Network() string { return "memnet" }
func (a address) String() string  { return string(a) }

// node is one listening address.
type node struct {
	net     *Network
	addr    address
	at      netip.AddrPort
	inbox   chan *memberlist.Packet
	packets chan *memberlist.Packet
	streams chan net.Conn
	done    chan struct{}
	once    sync.Once
	wg      sync.WaitGroup
}

var _ memberlist.NodeAwareTransport = (*node)(nil)

func (d *node) FinalAdvertiseAddr(ip string, port int) (net.IP, int, error) {
	return d.at.Addr().AsSlice(), int(d.at.Port()), nil
}

func (d *node) PacketCh() <-chan *memberlist.Packet { return d.packets }
func (d *node) StreamCh() <-chan net.Conn           { return d.streams }

func (d *node) WriteTo(b []byte, addr string) (time.Time, error) {
	return d.WriteToAddress(b, memberlist.Address{Addr: addr})
}

func (d *node) WriteToAddress(b []byte, to memberlist.Address) (time.Time, error) {
	now := time.Now()
	select {
	case <-d.done:
		return now, net.ErrClosed
	default:
	}
	n := d.net
	n.mu.Lock()
	n.sent.Packets++
	n.sent.PacketBytes += uint64(len(b))
	dst := n.nodes[to.Addr]
	_, cut := n.cuts[route{string(d.addr), to.Addr}]
	copies := 0
	_, blocked := n.blocks[route{string(d.addr), to.Addr}]
	if dst != nil && !cut && !blocked && !n.chance(n.fate.loss) {
		copies = 1
		if n.chance(n.fate.duplicate) {
			copies = 2
		}
	}
	if n.recording && copies > 0 {
		n.recorded = append(n.recorded, Recorded{string(d.addr), to.Addr, slices.Clone(b)})
	}
	waits := make([]time.Duration, copies)
	for i := range waits {
		waits[i] = n.delay()
		if n.chance(n.fate.reorder) {
			waits[i] += n.fate.max + time.Duration(n.rng.Int64N(int64(5*time.Millisecond)))
		}
	}
	n.mu.Unlock()
	for _, wait := range waits {
		buf := append([]byte(nil), b...)
		if wait == 0 {
			dst.arrive(buf, d.addr)
		} else {
			time.AfterFunc(wait, func() { dst.arrive(buf, d.addr) })
		}
	}
	return now, nil
}

func (n *Network) chance(p float64) bool { return p > 0 && n.rng.Float64() < p }

func (n *Network) delay() time.Duration {
	if n.fate.max <= 0 {
		return 0
	}
	return n.fate.min + time.Duration(n.rng.Int64N(int64(n.fate.max-n.fate.min)+1))
}

func (d *node) arrive(buf []byte, from address) {
	select {
	case d.inbox <- &memberlist.Packet{Buf: buf, From: from}:
	default:
	}
}

// A delivered packet is overwritten this much later: memberlist queues packets without a copy, and
// a slow reader may need a while to come to one. In a flood of packets, the oldest are not
// overwritten.
const (
	scribbleAfter = 30 * time.Second
	maxKept       = 1 << 14
)

// deliver passes packets on, and overwrites those that were delivered some time ago.
func (d *node) deliver() {
	defer d.wg.Done()
	var kept []*memberlist.Packet
	for {
		select {
		case p := <-d.inbox:
			p.Timestamp = time.Now()
			done := 0
			for done < len(kept) && p.Timestamp.Sub(kept[done].Timestamp) > scribbleAfter {
				scribble(kept[done].Buf)
				done++
			}
			done = max(done, len(kept)+1-maxKept)
			clear(kept[:done])
			kept = append(kept[done:], p)
			// The receiver gets a struct of its own; the network keeps the other.
			select {
			case d.packets <- &memberlist.Packet{Buf: p.Buf, From: p.From, Timestamp: p.Timestamp}:
			case <-d.done:
				return
			}
		case <-d.done:
			return
		}
	}
}

// scribble overwrites a packet. It is hidden from the race detector, which does not know that by
// the clock the reader was done long ago.
//
//go:norace
func scribble(b []byte) {
	for i := range b {
		b[i] = 0xDB
	}
}

func (d *node) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return d.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

func (d *node) DialAddressTimeout(to memberlist.Address, timeout time.Duration) (net.Conn, error) {
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Source: d.addr, Addr: address(to.Addr), Err: err}
	}
	n := d.net
	gaveUp := time.Now().Add(timeout)
	for n.severed(string(d.addr), to.Addr) {
		t := time.NewTimer(min(time.Second, time.Until(gaveUp)))
		select {
		case <-t.C: // send again, as TCP does
		case <-d.done:
			t.Stop()
			return fail(net.ErrClosed)
		}
		if !time.Now().Before(gaveUp) {
			return fail(timeoutError{})
		}
	}
	n.mu.Lock()
	dst := n.nodes[to.Addr]
	n.mu.Unlock()
	if dst == nil {
		return fail(errRefused)
	}
	near, far := n.pipe(d.addr, dst.addr)
	select {
	case <-d.done:
	case <-dst.done:
	case dst.streams <- far:
		return near, nil
	default:
	}
	near.reset()
	return fail(errRefused)
}

// severed reports whether a stream between two addresses is impossible.
func (n *Network) severed(a, b string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, there := n.cuts[route{a, b}]
	_, back := n.cuts[route{b, a}]
	return there || back
}

var errRefused = errors.New("connection refused")

// Shutdown frees the address and breaks its streams.
func (d *node) Shutdown() error {
	d.once.Do(func() {
		n := d.net
		n.mu.Lock()
		close(d.done)
		delete(n.nodes, string(d.addr))
		var mine []*stream
		for c := range n.conns {
			if c.local == d.addr || c.remote == d.addr {
				mine = append(mine, c)
			}
		}
		n.mu.Unlock()
		for _, c := range mine {
			c.reset()
		}
		d.wg.Wait()
	})
	return nil
}

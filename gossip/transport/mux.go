package transport

import (
	"cmp"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

// First bytes of a TCP connection. A connection that begins otherwise is closed.
const (
	bytePeer byte = 0xF5 // a hello follows
	byteFrom byte = 0xF6 // Faults only: length and text of the dialler's address, then a hello
)

// mux carries the packets and connections of memberlist and of this package over one port. It is
// the transport that memberlist sees. It seals what memberlist sends and opens what comes for
// memberlist, so that a stranger without a key cannot reach it. It keeps every connection, so
// that Shutdown and Cut can close them.
type mux struct {
	inner     memberlist.NodeAwareTransport
	me        *identity
	envelopes *envelopes
	self      func() string                 // returns the gossip address of this peer
	named     func(addr string) (id string) // returns the member to which an address belongs, "" for none
	serve     func(*muxConn)                // takes an accepted connection that begins with a hello
	take      func(letter)                  // takes a packet that is not memberlist's
	timeout   time.Duration                 // bound of the handshake of an accepted connection
	places    *places                       // accepted connections that are not proven
	stats     *counters
	cuts      *cuts       // nil unless Config.Faults is set
	leaving   atomic.Bool // memberlist's Leave is under way
	packets   chan *memberlist.Packet
	streams   chan net.Conn
	closing   chan struct{}
	closeOnce sync.Once
	wg        sync.WaitGroup

	mu    sync.Mutex // guards conns
	conns map[*muxConn]struct{}
}

var _ memberlist.NodeAwareTransport = (*mux)(nil)

func newMux(inner memberlist.NodeAwareTransport, me *identity, timeout time.Duration, stats *counters) *mux {
	return &mux{
		inner:     inner,
		me:        me,
		envelopes: newEnvelopes(me),
		timeout:   timeout,
		places:    newPlaces(),
		stats:     stats,
		packets:   make(chan *memberlist.Packet, 64),
		streams:   make(chan net.Conn),
		closing:   make(chan struct{}),
		conns:     make(map[*muxConn]struct{}),
	}
}

func (m *mux) start() {
	m.wg.Go(m.accept)
	m.wg.Go(m.receive)
}

// muxConn is a connection that the mux keeps.
type muxConn struct {
	net.Conn
	mux    *mux
	remote string     // gossip address of the other side, "" if it is not known
	first  []byte     // bytes that peek has read, which Read returns first
	from   netip.Addr // IP address of the other side of an accepted connection, else invalid
}

func (c *muxConn) Read(p []byte) (int, error) {
	if len(c.first) > 0 {
		n := copy(p, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// proven gives back the place of an accepted connection.
func (c *muxConn) proven() {
	if c.from.IsValid() {
		c.mux.places.leave(c)
	}
}

func (c *muxConn) Close() error {
	c.proven()
	c.mux.mu.Lock()
	delete(c.mux.conns, c)
	c.mux.mu.Unlock()
	return c.Conn.Close()
}

// track keeps a connection, or closes it if the mux is closing or the connection crosses a cut.
func (m *mux) track(c *muxConn) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.closing:
		c.Conn.Close()
		return net.ErrClosed
	default:
	}
	if m.cuts.has(c.remote) {
		c.Conn.Close()
		return errCut
	}
	m.conns[c] = struct{}{}
	return nil
}

// hangUp closes the connections to the addresses for which match returns true.
func (m *mux) hangUp(match func(remote string) bool) {
	m.mu.Lock()
	var found []*muxConn
	for c := range m.conns {
		if match(c.remote) {
			found = append(found, c)
		}
	}
	m.mu.Unlock()
	for _, c := range found {
		c.Close()
	}
}

func (m *mux) accept() {
	for {
		select {
		case conn := <-m.inner.StreamCh():
			c := &muxConn{Conn: conn, mux: m, from: ipOf(conn.RemoteAddr())}
			evicted, ok := m.places.enter(c)
			if evicted != nil {
				m.stats.count(refuseBusy, 1)
				evicted.Close()
			}
			if !ok {
				m.stats.count(refuseBusy, 1)
				conn.Close()
				continue
			}
			m.wg.Go(func() { m.welcome(c) })
		case <-m.closing:
			return
		}
	}
}

// welcome reads the first byte of a connection and passes it to serve. The deadline that it sets
// covers the handshake as well.
func (m *mux) welcome(c *muxConn) {
	if m.track(c) != nil {
		c.Close()
		return
	}
	c.SetDeadline(time.Now().Add(m.timeout))
	if err := m.peek(c); err != nil {
		if why := refusalOf(err); why < causes {
			m.stats.count(why, 1)
		}
		c.Close()
		return
	}
	m.serve(c)
}

// hand passes a proven connection to memberlist.
func (m *mux) hand(c net.Conn) {
	select {
	case m.streams <- c:
	case <-m.closing:
		c.Close()
	}
}

func (m *mux) peek(c *muxConn) error {
	first := make([]byte, 1)
	if _, err := io.ReadFull(c.Conn, first); err != nil {
		return err
	}
	if first[0] == byteFrom {
		if err := m.readFrom(c, first); err != nil {
			return err
		}
	}
	c.first = first
	return nil
}

func (m *mux) readFrom(c *muxConn, first []byte) error {
	if _, err := io.ReadFull(c.Conn, first); err != nil {
		return err
	}
	addr := make([]byte, first[0])
	if _, err := io.ReadFull(c.Conn, addr); err != nil {
		return err
	}
	m.mu.Lock()
	c.remote = string(addr)
	m.mu.Unlock()
	if m.cuts.has(c.remote) {
		return errCut
	}
	_, err := io.ReadFull(c.Conn, first)
	return err
}

func (m *mux) FinalAdvertiseAddr(ip string, port int) (net.IP, int, error) {
	return m.inner.FinalAdvertiseAddr(ip, port)
}

func (m *mux) WriteTo(b []byte, addr string) (time.Time, error) {
	return m.WriteToAddress(b, memberlist.Address{Addr: addr})
}

// WriteToAddress sends a packet of memberlist's.
func (m *mux) WriteToAddress(b []byte, to memberlist.Address) (time.Time, error) {
	if to.Name == "" {
		to.Name = m.named(to.Addr)
	}
	if to.Name == "" {
		m.stats.count(dropNobody, 1)
		return time.Now(), nil
	}
	return time.Now(), m.send(to, kindMembers, b)
}

// envelopeBuffers holds buffers of send, which the network does not keep.
var envelopeBuffers = sync.Pool{New: func() any {
	b := make([]byte, 0, 2048)
	return &b
}}

// send seals a message for a member and sends it as one packet.
func (m *mux) send(to memberlist.Address, kind byte, message []byte) error {
	if m.cuts.has(to.Addr) {
		m.stats.count(dropCut, 1)
		return nil
	}
	b := envelopeBuffers.Get().(*[]byte)
	defer envelopeBuffers.Put(b)
	var err error
	if *b, err = m.envelopes.seal((*b)[:0], to.Name, kind, message); err != nil {
		return err
	}
	_, err = m.inner.WriteToAddress(*b, to)
	return err
}

func (m *mux) PacketCh() <-chan *memberlist.Packet { return m.packets }

// receive opens arriving packets and passes them to memberlist, to take, or to echo.
func (m *mux) receive() {
	for {
		select {
		case p := <-m.inner.PacketCh():
			if m.cuts.has(p.From.String()) {
				m.stats.count(dropCut, 1)
				continue
			}
			if len(p.Buf) > 0 && p.Buf[0] == byteEcho {
				m.echo(p)
				continue
			}
			l, why := m.envelopes.open(p.Buf)
			switch {
			case why < causes:
				m.stats.count(why, 1)
			case l.Kind != kindMembers:
				m.take(l)
			case m.leaving.Load(): // it would wait to tell who has left too
			default:
				p.Buf = l.Body
				select {
				case m.packets <- p:
				case <-m.closing:
					return
				}
			}
		case <-m.closing:
			return
		}
	}
}

// echo answers an echo.
func (m *mux) echo(p *memberlist.Packet) {
	answer, to, why := m.envelopes.answerEcho(p.Buf)
	if why < causes {
		m.stats.count(why, 1)
		return
	}
	if to == "" {
		to = p.From.String()
	}
	if !m.cuts.has(to) {
		m.inner.WriteToAddress(answer, memberlist.Address{Addr: to}) // a lost answer is asked for again
	}
}

func (m *mux) StreamCh() <-chan net.Conn { return m.streams }

func (m *mux) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return m.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// DialAddressTimeout opens a connection for an exchange of memberlist's.
func (m *mux) DialAddressTimeout(to memberlist.Address, timeout time.Duration) (net.Conn, error) {
	c, s, err := m.hail(to, forMembers, timeout)
	if err != nil {
		return nil, err
	}
	return newExchange(c, s), nil
}

// hail dials a member and performs the handshake. If to has no name it accepts any member of the
// cluster at that address.
func (m *mux) hail(to memberlist.Address, use purpose, timeout time.Duration) (*muxConn, session, error) {
	deadline := time.Now().Add(timeout)
	c, err := m.dial(to, timeout)
	if err != nil {
		return nil, session{}, err
	}
	c.SetDeadline(deadline)
	s, err := m.me.initiate(c, use, cmp.Or(to.Name, anybody))
	if err != nil {
		c.Close()
		return nil, session{}, err
	}
	return c, s, c.SetDeadline(time.Time{})
}

func (m *mux) dial(to memberlist.Address, timeout time.Duration) (*muxConn, error) {
	if m.cuts.has(to.Addr) {
		return nil, errCut
	}
	conn, err := m.inner.DialAddressTimeout(to, timeout)
	if err != nil {
		return nil, err
	}
	c := &muxConn{Conn: conn, mux: m, remote: to.Addr}
	if err := m.track(c); err != nil {
		return nil, err
	}
	if m.cuts != nil {
		self := m.self()
		if _, err := c.Write(append([]byte{byteFrom, byte(len(self))}, self...)); err != nil {
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

// Shutdown closes the listeners and all connections, ends dials, and waits for the goroutines.
func (m *mux) Shutdown() error {
	var err error
	m.closeOnce.Do(func() {
		m.mu.Lock()
		close(m.closing)
		m.mu.Unlock()
		err = m.inner.Shutdown()
		m.hangUp(func(string) bool { return true })
		m.wg.Wait()
	})
	return err
}

// refusalOf returns the cause for which reading from an unproven connection failed; causes if the
// other side just closed it.
func refusalOf(err error) cause {
	ne, ok := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, errCut):
		return refuseCut
	case ok && ne.Timeout():
		return refuseTimeout
	}
	return causes
}

package transport

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// First bytes of a TCP connection. memberlist opens its own with a message
// type (0..13) or with 244 before a label; these two are ours.
const (
	bytePeer byte = 0xF5 // a peer stream: hello follows
	byteFrom byte = 0xF6 // Faults only: length and text of the dialler's address, then one of the others
)

// maxPending bounds the accepted connections that have not proven themselves:
// those that have not spoken yet, those amid a handshake, and memberlist's own,
// which live for one exchange. The next one is closed at once.
const maxPending = 256

// mux shares one port between memberlist and the peer streams. It is the
// transport memberlist sees; it passes dials and packets through, looks at the
// first byte of each accepted connection, and knows every connection so that
// Shutdown and Cut can close it.
type mux struct {
	inner     memberlist.NodeAwareTransport
	self      func() string  // our address as others see it
	peer      func(*muxConn) // serves a connection that began with bytePeer
	timeout   time.Duration  // until the first byte
	stats     *counters
	cuts      *cuts // nil unless Config.Faults
	packets   chan *memberlist.Packet
	streams   chan net.Conn
	pending   chan struct{} // a slot per unproven connection
	closing   chan struct{}
	closeOnce sync.Once
	wg        sync.WaitGroup

	mu    sync.Mutex // guards conns
	conns map[*muxConn]struct{}
}

var _ memberlist.NodeAwareTransport = (*mux)(nil)

func newMux(inner memberlist.NodeAwareTransport, timeout time.Duration, stats *counters) *mux {
	return &mux{
		inner:   inner,
		timeout: timeout,
		stats:   stats,
		packets: make(chan *memberlist.Packet),
		streams: make(chan net.Conn),
		pending: make(chan struct{}, maxPending),
		closing: make(chan struct{}),
		conns:   make(map[*muxConn]struct{}),
	}
}

func (m *mux) start() {
	m.wg.Go(m.accept)
	if m.cuts != nil {
		m.wg.Go(m.filter)
	}
}

// muxConn is a connection the mux can find again.
type muxConn struct {
	net.Conn
	mux     *mux
	remote  string // gossip address of the other side where we know it
	first   []byte // read while peeking, to be read again
	slot    bool   // holds a pending slot until proven or closed
	release sync.Once
}

func (c *muxConn) Read(p []byte) (int, error) {
	if len(c.first) > 0 {
		n := copy(p, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// proven gives the pending slot back.
func (c *muxConn) proven() {
	if c.slot {
		c.release.Do(func() { <-c.mux.pending })
	}
}

func (c *muxConn) Close() error {
	c.proven()
	c.mux.mu.Lock()
	delete(c.mux.conns, c)
	c.mux.mu.Unlock()
	return c.Conn.Close()
}

// track registers a connection, or closes it when we are closing or it crosses
// a cut.
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

// hangUp closes the connections to an address; all of them for nil.
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
			select {
			case m.pending <- struct{}{}:
				c := &muxConn{Conn: conn, mux: m, slot: true}
				m.wg.Go(func() { m.sort(c) })
			default:
				m.stats.count(refuseBusy, 1)
				conn.Close()
			}
		case <-m.closing:
			return
		}
	}
}

// sort reads the first byte and hands the connection to whom it is for.
func (m *mux) sort(c *muxConn) {
	if m.track(c) != nil {
		c.Close()
		return
	}
	if err := m.peek(c); err != nil {
		if why := refusalOf(err); why < causes {
			m.stats.count(why, 1)
		}
		c.Close()
		return
	}
	if c.first[0] == bytePeer {
		m.peer(c)
		return
	}
	select {
	case m.streams <- c:
	case <-m.closing:
		c.Close()
	}
}

func (m *mux) peek(c *muxConn) error {
	c.SetReadDeadline(time.Now().Add(m.timeout))
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
	return c.SetReadDeadline(time.Time{})
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

func (m *mux) WriteToAddress(b []byte, to memberlist.Address) (time.Time, error) {
	if m.cuts.has(to.Addr) {
		m.stats.count(dropCut, 1)
		return time.Now(), nil
	}
	return m.inner.WriteToAddress(b, to)
}

// PacketCh saves the hop through filter where there is nothing to filter.
func (m *mux) PacketCh() <-chan *memberlist.Packet {
	if m.cuts == nil {
		return m.inner.PacketCh()
	}
	return m.packets
}

func (m *mux) filter() {
	for {
		select {
		case p := <-m.inner.PacketCh():
			if m.cuts.has(p.From.String()) {
				m.stats.count(dropCut, 1)
				continue
			}
			select {
			case m.packets <- p:
			case <-m.closing:
				return
			}
		case <-m.closing:
			return
		}
	}
}

func (m *mux) StreamCh() <-chan net.Conn { return m.streams }

func (m *mux) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return m.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

func (m *mux) DialAddressTimeout(to memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return m.dial(to, timeout)
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

// Shutdown ends everything below memberlist: listeners, connections, dials.
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

// refusalOf names why reading from a newcomer failed; causes if it just left.
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

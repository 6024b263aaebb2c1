package transport

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"time"
)

// takePacket handles an opened packet of this package.
func (m *Memberlist) takePacket(l letter) {
	switch {
	case l.Kind == kindFrame && len(l.Body) > 0:
		m.stats.packets.in.Add(1)
		m.stats.packets.bytesIn.Add(uint64(len(l.Body)))
		m.cfg.Inbox(l.Body, Packet)
	case l.Kind == kindBye && len(l.Body) <= MaxNameBytes && l.signed(string(l.Body)):
		m.members.bye(string(l.Body), time.Now())
	default:
		m.stats.count(dropKind, 1)
	}
}

// serve performs the handshake of an accepted connection and runs it by its purpose.
func (m *Memberlist) serve(c *muxConn) {
	s, err := m.me.respond(c)
	switch {
	case err != nil:
		c.Close()
		m.countRefusal(err)
		m.logRefusal(c.RemoteAddr().String(), s.peer, err)
	case s.use == forMembers:
		m.serveMembers(c, s)
	default:
		m.servePeer(c, s)
	}
}

// serveMembers passes an exchange to memberlist once its first sealed message has opened, which
// shows that the other side has the key and does not replay a recorded hello.
func (m *Memberlist) serveMembers(c *muxConn, s session) {
	e := newExchange(c, s)
	if sealed, ok := e.(*exchange); ok {
		if err := sealed.read.(*opener).fill(); err != nil {
			c.Close()
			m.countRefusal(err)
			return
		}
	}
	c.proven()
	c.SetDeadline(time.Time{})
	m.mux.hand(e)
}

// servePeer reads the frames of a peer stream.
func (m *Memberlist) servePeer(c *muxConn, s session) {
	defer c.Close()
	m.stats.streamsIn.Add(1)
	defer m.stats.streamsIn.Add(-1)

	wait := &patience{c: c, idle: 2 * m.cfg.StreamIdle}
	var src io.Reader = wait
	if s.recv != nil {
		src = &opener{r: bufio.NewReaderSize(src, 16<<10), cs: s.recv}
	}
	r := bufio.NewReaderSize(&prover{src, wait}, 16<<10)
	var messages [][]byte // messages of the lock lane that Config.Locks gets in one call
	err := readRecords(r, MaxFrameBytes, func(l lane, frame []byte) {
		m.stats.streams.in.Add(1)
		m.stats.streams.bytesIn.Add(uint64(len(frame)))
		switch {
		case l != locks:
			m.cfg.Inbox(frame, Stream)
		case m.cfg.Locks != nil:
			messages = append(messages, frame)
		default:
			m.stats.count(dropKind, 1)
		}
		if len(messages) > 0 && (len(messages) == maxTogether || !atHand(r)) {
			m.cfg.Locks(s.peer, messages)
			messages = nil
		}
	})
	_, refused := errors.AsType[*refusal](err)
	if refused || !wait.proven {
		m.countRefusal(err)
	}
	if refused {
		m.logRefusal(c.RemoteAddr().String(), s.peer, err)
	} else if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
		m.log.Debug("peer stream ended", "peer", s.peer, "err", err)
	}
}

// maxTogether bounds the messages given to Config.Locks in one call.
const maxTogether = 64

// atHand reports whether the next record can be read without waiting for the network.
func atHand(r *bufio.Reader) bool {
	if r.Buffered() < recordHeader {
		return false
	}
	head, _ := r.Peek(recordHeader)
	return r.Buffered()-recordHeader >= int(binary.BigEndian.Uint32(head)&0xFFFFFF)
}

// patience reads from an accepted stream. Until the stream is proven the deadline of the handshake
// holds. After that the stream is taken for dead when it was silent for twice StreamIdle,
// since its sender closes it after one.
type patience struct {
	c      *muxConn
	idle   time.Duration
	proven bool
}

func (p *patience) Read(b []byte) (int, error) {
	if p.proven {
		p.c.SetReadDeadline(time.Now().Add(p.idle))
	}
	return p.c.Read(b)
}

// prover marks the stream as proven when its first bytes have been opened: a replayed hello cannot
// produce them.
type prover struct {
	io.Reader
	wait *patience
}

func (p *prover) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	if n > 0 && !p.wait.proven {
		p.wait.proven = true
		p.wait.c.proven()
	}
	return n, err
}

func (m *Memberlist) countRefusal(err error) {
	if r, ok := errors.AsType[*refusal](err); ok && r.probe {
		return // a probe expects to be refused
	} else if ok {
		m.stats.count(r.why, 1)
	} else if why := refusalOf(err); why < causes {
		m.stats.count(why, 1)
	}
}

// logRefusal logs why a peer was refused, at a bounded rate, so that strangers cannot fill the log.
func (m *Memberlist) logRefusal(addr, id string, err error) {
	if r, ok := errors.AsType[*refusal](err); ok && !r.probe {
		m.warn.on(r.why.String()).Warn("peer stream refused", "addr", addr, "peer", id, "err", err)
	} else {
		m.log.Debug("peer stream failed", "addr", addr, "peer", id, "err", err)
	}
}

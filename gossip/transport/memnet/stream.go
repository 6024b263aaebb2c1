package memnet

import (
	"cmp"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// window is how many bytes one direction of a stream holds before its writer waits.
const window = 256 << 10

type timeoutError struct{}

func (timeoutError) Error() string   { return "i/o timeout" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

// stream is one end of a connection.
type stream struct {
	net           *Network
	local, remote address
	in, out       *half
	other         *stream
}

// half is one direction of a stream: the pieces on their way, and the reader and writer that wait.
type half struct {
	mu       sync.Mutex // guards the fields below
	cond     sync.Cond
	pieces   []piece
	held     int
	lastDue  time.Time
	finished bool // the writer has closed: the pieces here may be read, then EOF
	broken   error
	readBy   deadline
	writeBy  deadline
}

type piece struct {
	data []byte
	due  time.Time
}

type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) passed(now time.Time) bool { return !d.at.IsZero() && !now.Before(d.at) }

func newHalf() *half {
	h := &half{}
	h.cond.L = &h.mu
	return h
}

func (n *Network) pipe(a, b address) (near, far *stream) {
	ab, ba := newHalf(), newHalf()
	near = &stream{net: n, local: a, remote: b, in: ba, out: ab}
	far = &stream{net: n, local: b, remote: a, in: ab, out: ba}
	near.other, far.other = far, near
	n.mu.Lock()
	n.conns[near], n.conns[far] = struct{}{}, struct{}{}
	n.mu.Unlock()
	if n.severed(string(a), string(b)) { // a cut came after the dial asked and did not see this stream
		near.reset()
	}
	return near, far
}

func (s *stream) between(a, b string) bool {
	return string(s.local) == a && string(s.remote) == b || string(s.local) == b && string(s.remote) == a
}

func (s *stream) Read(p []byte) (int, error) {
	h := s.in
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		now := time.Now()
		switch {
		case h.broken != nil:
			return 0, s.fail("read", h.broken)
		case h.readBy.passed(now):
			return 0, s.fail("read", timeoutError{})
		case len(h.pieces) > 0 && !now.Before(h.pieces[0].due):
			n := copy(p, h.pieces[0].data)
			h.held -= n
			if h.pieces[0].data = h.pieces[0].data[n:]; len(h.pieces[0].data) == 0 {
				h.pieces[0] = piece{}
				h.pieces = h.pieces[1:]
			}
			h.cond.Broadcast()
			return n, nil
		case len(h.pieces) > 0:
			t := time.AfterFunc(h.pieces[0].due.Sub(now), h.cond.Broadcast)
			h.cond.Wait()
			t.Stop()
		case h.finished:
			return 0, io.EOF
		default:
			h.cond.Wait()
		}
	}
}

func (s *stream) Write(p []byte) (int, error) {
	s.net.mu.Lock()
	wait := s.net.delay()
	s.net.sent.StreamBytes += uint64(len(p))
	s.net.mu.Unlock()
	h := s.out
	h.mu.Lock()
	defer h.mu.Unlock()
	written := 0
	for {
		now := time.Now()
		room := window - h.held
		switch {
		case h.broken != nil:
			return written, s.fail("write", h.broken)
		case h.finished:
			return written, s.fail("write", net.ErrClosed)
		case h.writeBy.passed(now):
			return written, s.fail("write", timeoutError{})
		case written == len(p):
			return written, nil
		case room > 0:
			n := min(room, len(p)-written)
			due := now.Add(wait)
			if due.Before(h.lastDue) {
				due = h.lastDue // pieces arrive in order
			}
			h.lastDue = due
			h.pieces = append(h.pieces, piece{append([]byte(nil), p[written:written+n]...), due})
			h.held += n
			written += n
			h.cond.Broadcast()
		default:
			h.cond.Wait()
		}
	}
}

func (s *stream) fail(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: s.local, Addr: s.remote, Err: err}
}

// Close ends both directions: what this end wrote can still be read, what comes in cannot.
func (s *stream) Close() error {
	s.out.end(func(h *half) { h.finished = true })
	s.in.end(func(h *half) { h.broken = cmp.Or(h.broken, net.ErrClosed) })
	s.forget()
	return nil
}

// reset breaks the connection at both ends, as happens when a peer vanishes.
func (s *stream) reset() {
	for _, h := range []*half{s.in, s.out} {
		h.end(func(h *half) { h.broken = syscall.ECONNRESET })
	}
	s.forget()
	s.other.forget()
}

func (s *stream) forget() {
	s.net.mu.Lock()
	delete(s.net.conns, s)
	s.net.mu.Unlock()
}

func (h *half) end(how func(*half)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	how(h)
	for _, d := range []*deadline{&h.readBy, &h.writeBy} {
		if d.timer != nil {
			d.timer.Stop()
		}
	}
	h.cond.Broadcast()
}

func (s *stream) LocalAddr() net.Addr  { return s.local }
func (s *stream) RemoteAddr() net.Addr { return s.remote }

func (s *stream) SetDeadline(t time.Time) error {
	s.SetReadDeadline(t)
	return s.SetWriteDeadline(t)
}

func (s *stream) SetReadDeadline(t time.Time) error {
	s.in.arm(&s.in.readBy, t)
	return nil
}

func (s *stream) SetWriteDeadline(t time.Time) error {
	s.out.arm(&s.out.writeBy, t)
	return nil
}

func (h *half) arm(d *deadline, t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.at = t
	if !t.IsZero() {
		d.timer = time.AfterFunc(time.Until(t), h.cond.Broadcast)
	}
	h.cond.Broadcast()
}

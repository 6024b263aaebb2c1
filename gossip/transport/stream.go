package transport

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// outbound is the one stream we keep towards a peer: a queue a lane, and a
// goroutine that dials when there is something to send, writes, and goes away
// when idle. At most one exists per member id, in Memberlist.out.
type outbound struct {
	m        *Memberlist
	id, addr string
	cancel   context.CancelFunc
	wake     chan struct{} // capacity 1: a full one already says "look again"

	mu     sync.Mutex // guards what follows
	queues [lanes]queue
	closed bool // nothing is taken any more
}

// queue is a first-in first-out of frames, the first of which may be partly
// sent.
type queue struct {
	frames [][]byte
	head   int
	sent   int // bytes of frames[head] in earlier records
	bytes  int // of all frames; bounded apart, so that bulk does not keep urgent out
}

func (q *queue) empty() bool { return q.head == len(q.frames) }

func (q *queue) push(f []byte) {
	if q.head > 64 && q.head > len(q.frames)/2 {
		n := copy(q.frames, q.frames[q.head:])
		clear(q.frames[n:])
		q.frames, q.head = q.frames[:n], 0
	}
	q.frames = append(q.frames, f)
	q.bytes += len(f)
}

func (q *queue) pop() {
	q.bytes -= len(q.frames[q.head])
	q.frames[q.head] = nil
	q.head, q.sent = q.head+1, 0
	if q.empty() {
		q.frames, q.head = q.frames[:0], 0
	}
}

// enqueue takes a frame, or says why not. It never waits for the network.
func (o *outbound) enqueue(frame []byte, l lane) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return ErrUnknownPeer
	}
	q := &o.queues[l]
	if q.bytes > 0 && q.bytes+len(frame) > o.m.cfg.QueueBytes {
		o.m.stats.count(dropQueueFull, 1)
		return ErrQueueFull
	}
	q.push(frame)
	select {
	case o.wake <- struct{}{}:
	default:
	}
	return nil
}

// fill moves what fits into a batch, lane by lane, and reports whether
// there was anything.
func (o *outbound) fill(b *batch) bool {
	b.reset()
	o.mu.Lock()
	defer o.mu.Unlock()
	for b.room() > 0 {
		l := locks
		for l < lanes && o.queues[l].empty() {
			l++
		}
		if l == lanes {
			break
		}
		q := &o.queues[l]
		f := q.frames[q.head]
		n := min(len(f)-q.sent, b.room())
		last := q.sent+n == len(f)
		b.add(l, f[q.sent:q.sent+n], last)
		q.sent += n
		if last {
			b.frames, b.bytes = b.frames+1, b.bytes+len(f)
			q.pop()
		}
	}
	return len(b.buf) > 0
}

// run lives as long as there is something to send, and StreamIdle longer.
func (o *outbound) run(ctx context.Context) {
	defer o.drop()
	const first, longest = 50 * time.Millisecond, 5 * time.Second
	pause := first
	for ctx.Err() == nil {
		began := time.Now()
		conn, s, err := o.m.mux.hail(memberlist.Address{Addr: o.addr, Name: o.id}, forFrames, o.m.cfg.HandshakeTimeout)
		if err == nil {
			if o.pump(ctx, conn, s) && o.retire() {
				return
			}
			if time.Since(began) > longest {
				pause = first
			}
		} else if ctx.Err() == nil {
			o.m.logRefusal(o.addr, o.id, err)
		}
		if !sleep(ctx, pause/2+rand.N(pause)) {
			return
		}
		pause = min(2*pause, longest)
		if o.retire() {
			return
		}
	}
}

// pump writes until the stream breaks (false) or was idle for long (true).
func (o *outbound) pump(ctx context.Context, conn *muxConn, s session) bool {
	o.m.stats.streamsOut.Add(1)
	defer o.m.stats.streamsOut.Add(-1)
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()

	// The other side never writes; a read that returns means that it left.
	// Without it the frames written next would be lost without a sign.
	broken := make(chan struct{})
	o.m.wg.Go(func() {
		defer close(broken)
		conn.Read(make([]byte, 1))
		conn.Close()
	})

	b := &batch{buf: make([]byte, 0, 4<<10)}
	idle := time.NewTimer(o.m.cfg.StreamIdle)
	defer idle.Stop()
	for {
		for o.fill(b) {
			conn.SetWriteDeadline(time.Now().Add(o.m.cfg.WriteTimeout))
			if err := b.flush(conn, s.send); err != nil {
				o.m.stats.count(dropBroken, b.frames+o.dropPartial())
				if ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
					o.m.log.Debug("peer stream broke", "peer", o.id, "addr", o.addr, "err", err)
				}
				return false
			}
			o.m.stats.streams.out.Add(uint64(b.frames))
			o.m.stats.streams.bytesOut.Add(uint64(b.bytes))
		}
		idle.Reset(o.m.cfg.StreamIdle)
		select {
		case <-o.wake:
		case <-broken:
			return false
		case <-idle.C:
			return true
		case <-ctx.Done():
			return false
		}
	}
}

// dropPartial forgets frames of which only pieces were written: the next
// stream begins with whole ones. It returns how many.
func (o *outbound) dropPartial() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := 0
	for i := range o.queues {
		if q := &o.queues[i]; q.sent > 0 {
			q.pop()
			n++
		}
	}
	return n
}

// retire takes us out of service if nothing is queued.
func (o *outbound) retire() bool {
	o.m.outMu.Lock()
	defer o.m.outMu.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range o.queues {
		if !o.queues[i].empty() {
			return false
		}
	}
	o.closed = true
	if o.m.out[o.id] == o {
		delete(o.m.out, o.id)
	}
	return true
}

// drop ends an outbound whose peer is gone, with what it still held.
func (o *outbound) drop() {
	o.cancel()
	o.m.outMu.Lock()
	if o.m.out[o.id] == o {
		delete(o.m.out, o.id)
	}
	o.m.outMu.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	for i := range o.queues {
		q := &o.queues[i]
		o.m.stats.count(dropGone, len(q.frames)-q.head)
		*q = queue{}
	}
}

// sleep waits and reports whether it was not interrupted.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

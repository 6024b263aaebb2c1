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

// outbound is the stream to one peer: a queue for each lane, and a goroutine that dials, writes what
// is queued, and ends when it was idle for StreamIdle. Memberlist.out holds at most one for
// each member id. No library is used: yamux v0.1 has no priority between its streams
// (docs/decisions/0034).
type outbound struct {
	m        *Memberlist
	id, addr string
	cancel   context.CancelFunc
	wake     chan struct{} // capacity 1; a full one has pump look at the queues again

	mu     sync.Mutex // guards queues and closed
	queues [lanes]queue
	closed bool // enqueue takes no more frames
}

// queue is a first-in, first-out queue of frames.
type queue struct {
	frames [][]byte
	head   int // index of the first frame
	sent   int // bytes of the first frame that earlier records hold
	bytes  int // total length of the frames; bounded for each lane, so that bulk frames cannot keep urgent ones out
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

// enqueue adds a frame, or fails with ErrQueueFull or ErrUnknownPeer. It never waits for the network.
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

// fill moves as many bytes as fit from the queues to a batch, lower lanes first, and reports whether
// there were any.
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

// run dials and pumps until the stream was idle for StreamIdle, or ctx ends. After a failure it waits
// for a random time, which doubles up to about 5 s.
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

// pump writes queued frames. It returns true when the stream was idle for StreamIdle, and false when
// it broke.
func (o *outbound) pump(ctx context.Context, conn *muxConn, s session) bool {
	o.m.stats.streamsOut.Add(1)
	defer o.m.stats.streamsOut.Add(-1)
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()

	// The other side never writes, so a read that returns means that it has closed the
	// stream. Without the read, frames written after that would be lost uncounted.
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

// dropPartial drops frames of which only pieces were written, since the next stream begins with whole
// frames. It returns their number.
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

// retire closes the outbound if nothing is queued, and reports whether it did. Both locks are held,
// so that no frame is queued in between.
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

// drop closes the outbound and counts the frames that are still queued as lost.
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

// sleep waits for d, and reports whether it did so before ctx ended.
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

package transport

import (
	"context"
	"fmt"

	"github.com/hashicorp/memberlist"
)

// SendPacket sends a frame of 1 to MaxPacketBytes to a member as one datagram: it may be lost,
// doubled or overtaken. It does not keep frame. It fails with ErrTooLarge, ErrUnknownPeer,
// ErrClosed, or the error of the socket.
func (m *Memberlist) SendPacket(id string, frame []byte) error {
	if len(frame) == 0 || len(frame) > MaxPacketBytes {
		return fmt.Errorf("a packet of %d bytes; allowed are 1 to %d: %w", len(frame), MaxPacketBytes, ErrTooLarge)
	}
	addr, ok := m.members.alive(id)
	if !ok {
		return fmt.Errorf("packet to %q: %w", id, m.orClosed(ErrUnknownPeer))
	}
	if err := m.mux.send(memberlist.Address{Addr: addr, Name: id}, kindFrame, frame); err != nil {
		if m.ctx.Err() != nil {
			err = ErrClosed
		}
		return fmt.Errorf("packet to %q at %s: %w", id, addr, err)
	}
	m.stats.packets.out.Add(1)
	m.stats.packets.bytesOut.Add(uint64(len(frame)))
	return nil
}

// SendStream queues a frame of 1 to MaxFrameBytes for a member and returns at once; it owns frame
// from then on. Urgent frames overtake the others. Frames of one lane arrive in order while
// the stream lives. When it breaks, frames that were being written are lost and counted, and
// queued ones are sent on the next stream. It fails with ErrTooLarge, ErrUnknownPeer,
// ErrQueueFull or ErrClosed.
func (m *Memberlist) SendStream(id string, frame []byte, isUrgent bool) error {
	if isUrgent {
		return m.enqueue(id, frame, urgent)
	}
	return m.enqueue(id, frame, bulk)
}

// SendLock queues a message for a member's Config.Locks, ahead of all frames that wait for that
// member. Limits, errors and ownership are those of SendStream.
func (m *Memberlist) SendLock(id string, message []byte) error {
	return m.enqueue(id, message, locks)
}

func (m *Memberlist) enqueue(id string, frame []byte, l lane) error {
	if len(frame) == 0 || len(frame) > MaxFrameBytes {
		return fmt.Errorf("a frame of %d bytes; allowed are 1 to %d: %w", len(frame), MaxFrameBytes, ErrTooLarge)
	}
	o, err := m.outbound(id)
	if err == nil {
		err = o.enqueue(frame, l)
	}
	if err != nil {
		return fmt.Errorf("frame to %q: %w", id, err)
	}
	return nil
}

// outbound returns the stream to a member, and starts one if there is none.
func (m *Memberlist) outbound(id string) (*outbound, error) {
	addr, ok := m.members.alive(id)
	if !ok {
		return nil, m.orClosed(ErrUnknownPeer)
	}
	m.outMu.Lock()
	defer m.outMu.Unlock()
	if m.ctx.Err() != nil {
		return nil, ErrClosed
	}
	o := m.out[id]
	if o != nil && o.addr == addr {
		return o, nil
	}
	if o != nil {
		o.cancel() // the member moved
	}
	ctx, cancel := context.WithCancel(m.ctx)
	o = &outbound{m: m, id: id, addr: addr, cancel: cancel, wake: make(chan struct{}, 1)}
	m.out[id] = o
	m.wg.Go(func() { o.run(ctx) })
	return o, nil
}

// hangUpOn ends the stream to a member that is gone.
func (m *Memberlist) hangUpOn(id string) {
	m.outMu.Lock()
	defer m.outMu.Unlock()
	if o := m.out[id]; o != nil {
		o.cancel()
		delete(m.out, id)
	}
}

func (m *Memberlist) orClosed(err error) error {
	if m.ctx.Err() != nil {
		return ErrClosed
	}
	return err
}

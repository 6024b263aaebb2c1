package transport

import (
	"context"
	"fmt"

	"github.com/hashicorp/memberlist"
)

// SendPacket sends a frame of up to MaxPacketBytes to a member, best effort: it
// may be lost, doubled or overtaken. It does not keep frame. The way into the
// other side's Inbox is two system calls and three goroutines, well under 60 µs
// on one machine.
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

// SendStream queues a frame of up to MaxFrameBytes for a member and returns at
// once; it owns frame from here on. Urgent frames overtake the others. Frames of
// one lane arrive in order while the stream lives; when it breaks, what was being
// written is lost and counted, and what was still queued goes with the next.
func (m *Memberlist) SendStream(id string, frame []byte, isUrgent bool) error {
	if isUrgent {
		return m.enqueue(id, frame, urgent)
	}
	return m.enqueue(id, frame, bulk)
}

// SendLock queues a message for a member's Config.Locks, before all else that waits
// for it. Otherwise it is as SendStream.
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

// outbound returns the stream towards a member, a new one if need be.
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

// hangUpOn ends the stream towards a member that is gone.
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

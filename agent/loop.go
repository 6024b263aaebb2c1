package agent

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/sentinel-peer/sentinel-peer/gossip"
	"github.com/sentinel-peer/sentinel-peer/gossip/transport"
	"github.com/sentinel-peer/sentinel-peer/internal/replica"
)

const (
	inboxBytes  = 64 << 20 // frames that wait for the loop; beyond, they are dropped and repaired
	framesAHold = 64       // received under one hold of the lock
	congested   = 20 * time.Millisecond
)

// inbox holds frames between the transport's goroutines and the loop.
type inbox struct {
	mu      sync.Mutex
	frames  [][]byte
	bytes   int
	dropped uint64
	wake    func() // has the loop look
}

// receive is called by the transport, which must not wait.
func (in *inbox) receive(frame []byte, _ transport.Path) {
	in.put(frame)
	in.wake()
}

func (in *inbox) put(frame []byte) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.bytes+len(frame) > inboxBytes {
		in.dropped++
		return
	}
	in.frames = append(in.frames, frame)
	in.bytes += len(frame)
}

func (in *inbox) lost() uint64 {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.dropped
}

// take returns what waits, leaving spare in its place.
func (in *inbox) take(spare [][]byte) [][]byte {
	in.mu.Lock()
	defer in.mu.Unlock()
	frames := in.frames
	in.frames, in.bytes = spare[:0], 0
	return frames
}

// run is the one loop: it feeds the replica frames and time, and carries out what
// comes out, never under the lock: first this peer's subscribers, then the network.
func (a *Agent) run(ctx context.Context) {
	defer a.queues.Abandon() // nobody waits for a loop that has ended
	timer := time.NewTimer(0)
	defer timer.Stop()
	var frames [][]byte
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-a.mem.Woken():
		}
		frames = a.inbox.take(frames)
		rest := frames
		for {
			n := min(len(rest), framesAHold)
			deadline := a.turn(rest[:n])
			rest = rest[n:]
			if len(rest) == 0 {
				timer.Reset(time.Until(deadline))
				break
			}
		}
		clear(frames)
	}
}

// turn is one hold of the lock and what follows from it. It returns when the next is
// due, if no frame or caller comes before.
func (a *Agent) turn(frames [][]byte) time.Time {
	var heard func()
	rd, now, sent := a.mem.Turn(frames, func(err error) { a.refusals.note(a.log, err) }, func(r *replica.Replica) { heard = a.queues.Turn(r) })
	if rd.Rotated {
		a.mem.Do(func(r *replica.Replica, _ time.Time) { a.roster.rename(r.Actor()) })
	}
	a.publish(rd.Changes)
	heard()
	a.send(now, rd.Envelopes)
	a.tell(rd)
	sent()
	return a.mem.Carried(rd.Changes)
}

// send hands envelopes to the transport. A frame it does not take is lost; the
// engine hears of it and compares notes with that peer.
func (a *Agent) send(now time.Time, envelopes []gossip.Envelope) {
	if len(envelopes) == 0 {
		return
	}
	routes := *a.routes.Load()
	for _, e := range envelopes {
		id, ok := routes[e.To]
		if !ok {
			continue
		}
		var err error
		if e.Class == gossip.Packet {
			err = a.net.SendPacket(id, e.Frame)
		} else {
			err = a.net.SendStream(id, e.Frame, e.Class == gossip.Urgent)
		}
		if e.Class == gossip.Packet || err == nil && e.Class != gossip.Bulk {
			continue
		}
		window := transportWindow
		if errors.Is(err, transport.ErrQueueFull) {
			window = 0
			a.wg.Go(func() { a.reopen(e) })
		}
		a.mem.Do(func(r *replica.Replica, _ time.Time) {
			r.Window(e.To, window)
			if err != nil {
				r.Lost(now, e.To)
			}
		})
	}
}

const transportWindow = 4 << 20

// reopen lets the engine try a congested peer again after a while.
func (a *Agent) reopen(e gossip.Envelope) {
	select {
	case <-a.closed:
		return
	case <-time.After(congested):
	}
	a.mem.Do(func(r *replica.Replica, _ time.Time) { r.Window(e.To, transportWindow) })
	a.mem.Signal()
}

// refusals logs frames that were not taken, at most one a second for each reason.
type refusals map[string]time.Time

func (f refusals) note(log *slog.Logger, err error) {
	var bad *gossip.FrameError
	if !errors.As(err, &bad) {
		return
	}
	if now := time.Now(); now.Sub(f[bad.Reason]) >= time.Second {
		f[bad.Reason] = now
		log.Warn("frame refused", "reason", bad.Reason, "err", bad.Err)
	}
}

// tell logs and announces what Ready noticed.
func (a *Agent) tell(rd replica.Ready) {
	for _, n := range rd.Notices {
		a.log.Warn("peer has a problem", "problem", n.Problem.String(), "name", n.Name, "detail", n.Detail)
	}
	for _, err := range rd.Faults {
		a.log.Warn("a write of this peer's own failed", "err", err)
	}
	if g := a.locks.session.Guarantee(); rd.Rotated || g != a.locks.told {
		a.locks.told = g
		if err := a.net.SetMeta(a.meta()); err != nil {
			a.log.Warn("cannot announce the new actor or guarantee", "err", err)
		}
	}
	if len(rd.Envelopes) > 0 && a.bus.wanted() {
		a.bus.emit(LifecycleEvent{Type: BatchFlushed, Count: len(rd.Envelopes)})
	}
}

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
	inboxBytes    = 64 << 20              // greatest size of the frames that wait for the loop; more are dropped, and repaired later
	framesPerTurn = 64                    // frames received while the lock is held once, so that callers do not wait long for it
	congested     = 20 * time.Millisecond // pause before a peer whose queue was full gets frames again
)

// inbox queues frames from the transport's goroutines for the loop.
type inbox struct {
	mu      sync.Mutex
	frames  [][]byte
	bytes   int    // sum of the sizes of frames
	dropped uint64 // number of frames dropped because the inbox was full
	wake    func() // wakes the loop
}

// receive queues a frame. The transport calls it and must not wait.
func (in *inbox) receive(frame []byte, _ transport.Path) {
	in.put(frame)
	in.wake()
}

// put queues a frame, or drops it if the inbox is full.
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

// lost returns the number of frames dropped so far.
func (in *inbox) lost() uint64 {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.dropped
}

// take returns all frames that wait, and uses the memory of spare for the next ones.
func (in *inbox) take(spare [][]byte) [][]byte {
	in.mu.Lock()
	defer in.mu.Unlock()
	frames := in.frames
	in.frames, in.bytes = spare[:0], 0
	return frames
}

// run is the loop. Whenever frames or writes wait, or the machine has something to do by the clock, it
// takes a turn for up to framesPerTurn frames at a time.
func (a *Agent) run(ctx context.Context) {
	defer a.queues.Abandon() // callers must not wait for a turn that never comes
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
			n := min(len(rest), framesPerTurn)
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

// turn gives frames and the time to the machine, and carries out the effects without the lock: first
// the changes, then the envelopes, as internal/replica demands. It returns the time of the next turn,
// which may come sooner if a frame or a caller wakes the loop.
func (a *Agent) turn(frames [][]byte) time.Time {
	var indexed func()
	rd, now, sent := a.mem.Turn(frames, func(err error) { a.refusals.note(a.log, err) }, func(r *replica.Replica) { indexed = a.queues.Turn(r) })
	if rd.Rotated {
		a.mem.Do(func(r *replica.Replica, _ time.Time) { a.roster.rename(r.Actor()) })
	}
	a.publish(rd.Changes)
	indexed()
	a.send(now, rd.Envelopes)
	a.report(rd)
	sent()
	return a.mem.Carried(rd.Changes)
}

// send hands envelopes to the transport. It reports a frame that the transport did not take as lost,
// so that the machine compares its state with that peer's later.
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

// transportWindow is how many bytes of bulk frames the machine may send to one peer at a time.
const transportWindow = 4 << 20

// reopen lets the machine send bulk frames to a congested peer again after a pause.
func (a *Agent) reopen(e gossip.Envelope) {
	select {
	case <-a.closed:
		return
	case <-time.After(congested):
	}
	a.mem.Do(func(r *replica.Replica, _ time.Time) { r.Window(e.To, transportWindow) })
	a.mem.Signal()
}

// refusals has the time of the last log line for each reason to refuse a frame.
type refusals map[string]time.Time

// note logs a frame that was refused, at most once a second for each reason.
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

// report logs the problems in rd, and announces a new actor or a new guarantee of leases to the other
// peers.
func (a *Agent) report(rd replica.Ready) {
	for _, n := range rd.Notices {
		a.log.Warn("peer has a problem", "problem", n.Problem.String(), "name", n.Name, "detail", n.Detail)
	}
	for _, err := range rd.Faults {
		a.log.Warn("a write of this peer's own failed", "err", err)
	}
	if g := a.locks.session.Guarantee(); rd.Rotated || g != a.locks.announced {
		a.locks.announced = g
		if err := a.net.SetMeta(metaOf(a)); err != nil {
			a.log.Warn("cannot announce the new actor or guarantee", "err", err)
		}
	}
	if len(rd.Envelopes) > 0 && a.bus.wanted() {
		a.bus.emit(LifecycleEvent{Type: BatchFlushed, Count: len(rd.Envelopes)})
	}
}

package mcpserver

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// Agents think for minutes and leases last for seconds, so that a daemon that dies
// frees them soon. A hold renews one lease of an agent for as long as it asked for. It
// ends with the session and the token of who gave the last sign of life, but not with
// the daemon: then the lease lasts as long as it does.
type hold struct {
	queue, id string // of a claim; a lock has its name as id
	lease     string // of a claim, at its peer
	token     uint64
	last      time.Duration      // how long from each sign of life
	touched   chan *caller       // who gave a sign of life
	stop      context.CancelFunc // the lease was given back
}

// holds are those of the daemon, by the id that the agent has: of its claim, or its lease
// of a lock. Nobody can guess it.
type holds struct {
	mu sync.Mutex
	by map[string]*hold
}

// maxHolds bounds the leases held for agents.
const maxHolds = 10_000

// hold renews a lease of a caller that lasts for ttl until its time has come, then ends it.
func (s *Server) hold(from *caller, id string, h *hold, ttl time.Duration, renew, end func(context.Context) error) error {
	s.holds.mu.Lock()
	if len(s.holds.by) >= maxHolds {
		s.holds.mu.Unlock()
		return &failure{Code: "locks-full", Text: "this daemon holds no more leases for agents", Hint: "release what you do not need, and try again"}
	}
	if !s.begin(&s.running) {
		s.holds.mu.Unlock()
		return errStopping
	}
	ctx, stop := context.WithCancel(s.closing)
	h.touched, h.stop = make(chan *caller, 1), stop
	s.holds.by[id] = h
	s.holds.mu.Unlock()
	go func() {
		defer s.running.Done()
		defer s.holds.drop(id, h)
		if keep(ctx, from, h, max(ttl/3, 50*time.Millisecond), renew) {
			ctx, cancel := context.WithTimeout(ctx, callTimeout)
			defer cancel()
			_ = end(ctx) // it runs out by itself if this fails
		}
	}()
	return nil
}

// keep renews until the hold has lasted long enough or its session or token has ended,
// true, or the lease was lost or given back.
func keep(ctx context.Context, from *caller, h *hold, every time.Duration, renew func(context.Context) error) bool {
	end := time.NewTimer(h.last)
	defer end.Stop()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		gone, withdrawn := from.ends()
		select {
		case from = <-h.touched:
			end.Reset(h.last)
		case <-tick.C:
			within, cancel := context.WithTimeout(ctx, callTimeout)
			err := renew(within)
			cancel()
			if err != nil && !errors.Is(err, lockservice.ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded) {
				return false
			}
		case <-end.C:
			return true
		case <-gone:
			return ctx.Err() == nil // else the daemon stops, not its client
		case <-withdrawn:
			return true
		case <-ctx.Done():
			return false
		}
	}
}

// find returns the hold of that id, and notes that its agent is alive.
func (t *holds) find(id string, from *caller) (*hold, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h, ok := t.by[id]
	if ok {
		select {
		case <-h.touched: // the newer one counts
		default:
		}
		h.touched <- from
	}
	return h, ok
}

// drop ends h, unless it has ended already.
func (t *holds) drop(id string, h *hold) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.by[id] == h {
		h.stop()
		delete(t.by, id)
	}
}

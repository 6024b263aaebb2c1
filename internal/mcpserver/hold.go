package mcpserver

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// Agents think for minutes and leases last for seconds, so that a daemon that dies
// frees them soon. A hold renews one lease of an agent for as long as it asked for. It
// ends with the session and the token of the caller that last named it, but not with
// the daemon: when the daemon stops, the lease runs out by its own time.
type hold struct {
	queue, id string // of a claim; a lock has its name as id
	lease     string // of a claim, at its peer
	token     uint64
	last      time.Duration // how long from each call that names it; guarded by holds.mu
	author    author        // the last caller that named it, guarded likewise
	owner     string        // see call.owner, likewise
	since     time.Time
	place     string // whose it is of holds.places
	touched   chan sign
	stop      context.CancelFunc // the lease was given back
}

// sign is a call that names a hold, and so keeps it.
type sign struct {
	from *caller
	last time.Duration
}

// holds are those of the daemon, by the id that the agent has: of its claim, or its lease
// of a lock. Nobody can guess it.
type holds struct {
	places *api.Shares

	mu sync.Mutex // guards by
	by map[string]*hold
}

// maxHolds bounds the leases held for agents; one client may have half of them.
const maxHolds = 10_000

// hold renews a lease of the caller that lasts for ttl until its time has come, then ends
// it.
func (c *call) hold(id string, h *hold, ttl time.Duration, renew, end func(context.Context) error) error {
	s, from := c.s, c.from
	s.holds.mu.Lock()
	if s.holds.by[id] != nil { // two calls resumed it
		s.holds.mu.Unlock()
		return nil
	}
	h.place = api.CallerOf(c.ctx)
	if err := s.holds.places.Take(h.place); err != nil {
		s.holds.mu.Unlock()
		return err
	}
	if !s.begin(&s.running) {
		s.holds.places.Give(h.place)
		s.holds.mu.Unlock()
		return errStopping
	}
	ctx, stop := context.WithCancel(s.closing)
	h.touched, h.stop = make(chan sign, 1), stop
	h.author, h.owner, h.since = c.writer, c.owner(), time.Now()
	s.holds.by[id] = h
	last := h.last
	s.holds.mu.Unlock()
	go func() {
		defer s.running.Done()
		defer s.holds.drop(id, h)
		if keep(ctx, from, h, last, max(ttl/3, 50*time.Millisecond), renew) {
			ctx, cancel := context.WithTimeout(ctx, callTimeout)
			defer cancel()
			_ = end(ctx) // it runs out by itself if this fails
		}
	}()
	return nil
}

// keep renews until the hold has lasted long enough or its session or token has ended,
// true, or the lease was lost or given back.
func keep(ctx context.Context, from *caller, h *hold, last, every time.Duration, renew func(context.Context) error) bool {
	end := time.NewTimer(last)
	defer end.Stop()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		gone, withdrawn := from.ends()
		select {
		case alive := <-h.touched:
			from = alive.from
			end.Reset(alive.last)
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

// touch returns the hold of that id, and notes that its agent is alive and wants it held
// for so long from now; 0 is as long as before.
func (c *call) touch(id string, last time.Duration) (h *hold, until time.Duration, ok bool) {
	t := &c.s.holds
	t.mu.Lock()
	defer t.mu.Unlock()
	if h, ok = t.by[id]; !ok {
		return nil, 0, false
	}
	h.last, h.author, h.owner = cmp.Or(last, h.last), c.writer, c.owner()
	select {
	case <-h.touched: // the newer one counts
	default:
	}
	h.touched <- sign{c.from, h.last}
	return h, h.last, true
}

// claimOf returns the claim that the caller has of a task, "" if none.
func (c *call) claimOf(task string) string {
	t, owner := &c.s.holds, c.owner()
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, h := range t.by {
		if h.queue != "" && h.id == task && h.owner == owner {
			return id
		}
	}
	return ""
}

// drop ends h, unless it has ended already.
func (t *holds) drop(id string, h *hold) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.by[id] == h {
		h.stop()
		delete(t.by, id)
		t.places.Give(h.place)
	}
}

package api

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// Caller is a client of this daemon that holds a lock, or waits for it.
type Caller struct {
	Lock   string
	Client string    // as the surface that it came by names it
	Since  time.Time // when it asked
	Token  uint64    // 0 while it waits
}

// caller notes a client that asks for a lock. It is to leave, or to hold.
func (t *Leases) caller(lock, client string) *Caller {
	c := &Caller{Lock: lock, Client: client, Since: time.Now()}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.callers[c] = struct{}{}
	return c
}

func (t *Leases) leave(c *Caller) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.callers, c)
}

// holds notes that a client has its lock, until that ends.
func (t *Leases) holds(c *Caller, l *lockservice.Lease) {
	t.mu.Lock()
	c.Token = l.Token()
	t.mu.Unlock()
	context.AfterFunc(l.Context(), func() { t.leave(c) })
}

// Callers returns the clients that hold locks or wait for them here and whose locks the
// grant covers: by lock, those that hold it first, then by when they asked.
func (t *Leases) Callers(grant *Grant) (list []Caller) {
	t.mu.Lock()
	for c := range t.callers { // sorted below
		if grant.MayLock(c.Lock) {
			list = append(list, *c)
		}
	}
	t.mu.Unlock()
	slices.SortFunc(list, func(x, y Caller) int {
		waits := func(c Caller) int { return cmp.Compare(0, c.Token) }
		return cmp.Or(cmp.Compare(x.Lock, y.Lock), cmp.Compare(waits(x), waits(y)), x.Since.Compare(y.Since))
	})
	return list
}

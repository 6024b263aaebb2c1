package mcpserver

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"strconv"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

func lockAcquire(c *call) (fields, error) {
	name := c.required("name")
	wait, last := c.seconds("wait_s", 0, maxWait), c.seconds("hold_s", 0, maxHold)
	shared := c.flag("shared", false)
	if c.fault != nil {
		return nil, c.fault
	}
	if lease := c.text("lease"); lease != "" {
		return c.renewLock(name, lease, last)
	}
	res, err := c.do("lock_acquire", api.Request{Key: name}, map[string]any{"wait": wait.String(), "shared": shared})
	if err != nil {
		return nil, c.heldBy(name, err)
	}
	l := res.Body.(api.Lease)
	last, err = c.holdLock(name, l, last)
	if err != nil {
		return nil, err
	}
	return fields{"name", name, "acquired", true, "lease", l.Lease, "token", l.Token, "shared", l.Shared, "hold_s", last.Seconds(), "guarantee", l.Guarantee}, nil
}

// holdLock holds a lease for the caller, and tells all peers which agent that is.
func (c *call) holdLock(name string, l api.Lease, last time.Duration) (time.Duration, error) {
	last = cmp.Or(last, 2*time.Minute)
	request, body := api.Request{Key: name}, map[string]any{"lease": l.Lease}
	release := c.later("lock_release", request, body)
	h := &hold{id: name, token: l.Token, last: last}
	if err := c.hold(l.Lease, h, time.Duration(l.Remaining), c.later("lock_renew", request, body), c.unlessMoved(name, l.Token, release)); err != nil {
		return 0, errors.Join(err, release(c.ctx))
	}
	c.tell(name, l.Token, last)
	return last, nil
}

func (c *call) renewLock(name, lease string, last time.Duration) (fields, error) {
	request := api.Request{Key: name}
	if err := api.Find("lock_renew").Check(c.ctx, request); err != nil {
		return nil, err
	}
	ended := &failure{Code: "not-holder", Text: "no such lease is held on this lock", Hint: "the lease has ended: stop the work that it protected, and call lock_acquire without lease"}
	h, until, ok := c.touch(lease, last)
	switch {
	case ok && (h.queue != "" || h.id != name):
		return nil, ended
	case ok:
		c.tell(name, h.token, until)
	default: // the lease may have begun before a restart, or at another daemon
		res, err := c.do("lock_renew", request, map[string]any{"lease": lease})
		if errors.Is(err, lockservice.ErrNotHolder) {
			return nil, ended
		}
		if err == nil {
			until, err = c.holdLock(name, res.Body.(api.Lease), last)
		}
		if err != nil {
			return nil, err
		}
	}
	return fields{"name", name, "acquired", true, "lease", lease, "hold_s", until.Seconds()}, nil
}

// unlessMoved wraps the end of a hold, so that it leaves a lease alone that the agent has renewed
// at another daemon since.
func (c *call) unlessMoved(lock string, token uint64, end func(context.Context) error) func(context.Context) error {
	a := c.s.cfg.Agent
	return func(ctx context.Context) error {
		if e, ok := a.Entry(noteKey(lock, token)); ok && a.WriterName(e.Dot().Actor) != a.Name() {
			return nil
		}
		return end(ctx)
	}
}

func lockRelease(c *call) (fields, error) {
	name, lease := c.required("name"), c.required("lease")
	if c.fault != nil {
		return nil, c.fault
	}
	_, err := c.do("lock_release", api.Request{Key: name}, map[string]any{"lease": lease})
	if err != nil {
		return nil, err
	}
	if h, _, ok := c.touch(lease, 0); ok {
		c.s.holds.drop(lease, h)
		_ = c.s.cfg.Agent.Delete(c.ctx, noteKey(name, h.token)) // on an error the note expires by itself
	}
	return fields{"name", name, "released", true}, nil
}

// note tells all peers which agent holds a lock, through which daemon: voters know neither.
type note struct {
	author
	Hold float64 `json:"hold_s"`
}

// maxNoted bounds the length of a lock's name that gets a note, in bytes of its URL form.
const maxNoted = 900

func noteKey(name string, token uint64) string {
	return authors + "lock/" + url.PathEscape(name) + "/" + strconv.FormatUint(token, 10)
}

// tell records that the caller holds a lock for the given time. A failure to record that is not a
// failure to get the lock.
func (c *call) tell(name string, token uint64, last time.Duration) {
	if len(url.PathEscape(name)) > maxNoted {
		return
	}
	by := c.writer
	by.Created = time.Now().UnixMilli()
	_ = c.s.cfg.Agent.Put(c.ctx, noteKey(name, token), note{by, last.Seconds()}, agent.WithTTL(last+callTimeout))
}

// heldBy adds the holders to the error of a lock that is held by others.
func (c *call) heldBy(name string, err error) error {
	if !errors.Is(err, lockservice.ErrHeld) && !errors.Is(err, lockservice.ErrTimeout) {
		return err
	}
	ctx, cancel := context.WithTimeout(c.ctx, time.Second)
	defer cancel()
	s, fault := c.s.cfg.Agent.Locks().Survey(ctx, lockservice.Query{Only: name})
	if fault != nil || len(s.Locks) == 0 {
		return err
	}
	f := explain(err)
	for _, h := range s.Locks[0].Holders {
		f.Holders = append(f.Holders, c.s.holder(name, h))
	}
	return f
}

// holder shows the holder of a lock: the agent or, if no tool took the lock, the client and its
// peer.
func (s *Server) holder(name string, h lockservice.Client) fields {
	since := timestamp(lockservice.TokenTime(h.Token))
	v, ok := s.cfg.Agent.Get(noteKey(name, h.Token))
	var n note
	if !ok || v.Decode(&n) != nil {
		out := fields{"writer", h.Peer, "since", since}
		if h.Name != "" {
			out = fields{"writer", h.Peer, "client", h.Name, "since", since}
		}
		return out
	}
	n.peer = h.Peer
	left := time.Until(time.UnixMilli(n.Created).Add(time.Duration(n.Hold * float64(time.Second))))
	return fields{"writer", n.writer(), "claimed_client", n.Client, "since", since, "hold_s", n.Hold, "hold_left_s", max(left, 0).Round(time.Second).Seconds()}
}

// locks returns the locks of the cluster, with the agents and other clients that hold them or wait.
func (c *call) locks() (any, error) {
	locks, query := []fields{}, url.Values{}
	for {
		res, err := c.do("lock_list", api.Request{Query: query}, nil)
		if err != nil {
			return nil, err
		}
		page := res.Body.(api.LockList)
		for _, l := range page.Items {
			locks = append(locks, c.s.locked(l))
		}
		if page.Next == "" || len(locks) >= maxLocks {
			return fields{"locks", locks, "more", page.Next != "", "unknown_clients_of", append([]string{}, page.Unknown...),
				"certain", page.Certain, "guarantee", page.Guarantee}, nil
		}
		query.Set("after", page.Next)
	}
}

// maxLocks is the number of locks after which the resource ends, at the end of a page.
const maxLocks = 1000

func (s *Server) locked(l api.LockEntry) fields {
	holders, waiters := []fields{}, []fields{}
	for _, h := range l.Holders {
		holders = append(holders, append(s.holder(l.Lock, lockservice.Client{Peer: h.Peer, Name: h.Client, Token: h.Token}), "token", h.Token))
	}
	for _, w := range l.Waiters {
		waiters = append(waiters, fields{"writer", w.Peer, "client", w.Client, "since", timestamp(w.Since)})
	}
	out := fields{"lock", l.Lock, "holders", holders, "waiters", waiters}
	if l.More > 0 {
		out = append(out, "more", l.More)
	}
	return out
}

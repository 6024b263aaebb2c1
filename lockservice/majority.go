package lockservice

import (
	"context"
	"time"
)

const (
	majorityProbe = "sentinel-peer-majority" // name of a lock that is inspected and never acquired
	majorityGood  = 2 * time.Second          // age up to which an answer is reused
	majorityWait  = 500 * time.Millisecond   // how long voters have to answer
)

// majority caches the latest Turnout.
type majority struct {
	turn  chan struct{} // a mutex that can be waited for with a context: full while it is taken; guards the other fields
	asked bool
	at    time.Duration
	view  uint64 // Session.view when the voters were asked
	said  Turnout
}

// Majority returns nil if a majority of the voters takes part now, and else the Err of Turnout.
func (s *Session) Majority(ctx context.Context) error { return s.Turnout(ctx).Err }

// Turnout returns how the voters take part now. If enough of them are up it asks them, and waits
// for half a second at most. Calls within two seconds share one answer as long as the view
// and the voters do not change, so frequent calls are cheap. If ctx ends first, Err is its
// cause.
func (s *Session) Turnout(ctx context.Context) Turnout {
	m := &s.majority
	select {
	case m.turn <- struct{}{}:
		defer func() { <-m.turn }()
	case <-ctx.Done():
		return Turnout{Err: context.Cause(ctx)}
	}
	view := s.view.Load()
	if now := s.cfg.Clock(); m.asked && m.view == view && now-m.at < majorityGood {
		return m.said.after(now - m.at)
	}
	if up, needed := s.Quorum(); up < needed {
		return Turnout{Err: &UnavailableError{Lock: majorityProbe, Reachable: up, Needed: needed}}
	}
	within, cancel := context.WithTimeout(ctx, majorityWait)
	defer cancel()
	r, err := s.answer(within, func(t Time) (uint64, error) { return s.node.Poll(t), nil })
	if err == nil {
		err = r.Err
	}
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return Turnout{Err: err} // this call failed; it says nothing of the voters and is not cached
	}
	m.asked, m.at, m.view, m.said = true, s.cfg.Clock(), view, *r.Turnout
	return m.said
}

// Returning returns how long no other voter should be stopped because this one has just come back:
// as long as it is fresh, if its state on disk says that it voted before. It returns 0 for a
// voter without state, which may start for the first time, and for an only voter.
func (s *Session) Returning() (left time.Duration) {
	if s.cfg.Node.State.TokenBound > 0 && s.Guarantee() == Quorum && len(s.Voters().Names) > 1 {
		s.do(func(t Time) { left = s.node.Fresh(t) })
	}
	return left
}

// after returns o with the times that are left reduced by d.
func (o Turnout) after(d time.Duration) Turnout {
	var fresh []Fresh
	for _, f := range o.Fresh {
		if f.Left -= d; f.Left > 0 {
			fresh = append(fresh, f)
		}
	}
	o.Fresh = fresh
	return o
}

// Quorum returns how many voters are up in this peer's view, and how many make a majority.
func (s *Session) Quorum() (up, needed int) {
	s.do(func(Time) { up, needed = s.node.Quorum() })
	return up, needed
}

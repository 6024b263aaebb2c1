package lockservice

import (
	"context"
	"time"
)

const (
	majorityProbe = "sentinel-peer-majority"
	majorityGood  = 2 * time.Second        // how long an answer is taken for true
	majorityWait  = 500 * time.Millisecond // for voters that answer at all
)

// majority is the last answer about the voters, and the right to ask anew.
type majority struct {
	turn  chan struct{} // capacity 1: holds a token while somebody asks; guards what follows
	asked bool
	at    time.Duration
	view  uint64 // of those who are up, when it was asked
	said  Turnout
}

// Majority reports whether a majority of the voters takes part now: the Err of Turnout.
func (s *Session) Majority(ctx context.Context) error { return s.Turnout(ctx).Err }

// Turnout returns how the voters take part now. If enough of them are up it asks them, for
// half a second at most; calls within two seconds share one answer as long as nobody comes
// or goes, so that it may be called as often as one likes. When ctx ends, Err is its cause.
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
		return Turnout{Err: err} // of this call, not of the voters
	}
	m.asked, m.at, m.view, m.said = true, s.cfg.Clock(), view, *r.Turnout
	return m.said
}

// Returning returns how long no other voter should be stopped because this one has come
// back: while it is fresh, if its state says that it has voted in an earlier life. It is 0
// of a voter without state, which may be the first of its life, and where no other is named.
func (s *Session) Returning() (left time.Duration) {
	if s.cfg.Node.State.TokenBound > 0 && s.Guarantee() == Quorum && len(s.Voters().Names) > 1 {
		s.do(func(t Time) { left = s.node.Fresh(t) })
	}
	return left
}

// after returns what was said a while ago as it is now.
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

// Quorum returns how many voters are up as far as this peer can see, and how many make a
// majority.
func (s *Session) Quorum() (up, needed int) {
	s.do(func(Time) { up, needed = s.node.Quorum() })
	return up, needed
}

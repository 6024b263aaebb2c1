package lockservice

import (
	"context"
	"errors"
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
	err   error
}

// Majority reports whether a majority of the voters takes part now: nil, or an
// *UnavailableError or *MismatchError. If enough of them are up it asks them, for half a
// second at most; calls within two seconds share one answer, so that it may be called as
// often as one likes.
func (s *Session) Majority(ctx context.Context) error {
	m := &s.majority
	select {
	case m.turn <- struct{}{}:
		defer func() { <-m.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if now := s.cfg.Clock(); m.asked && now-m.at < majorityGood {
		return m.err
	}
	if up, needed := s.Quorum(); up < needed {
		return &UnavailableError{Lock: majorityProbe, Reachable: up, Needed: needed}
	}
	within, cancel := context.WithTimeout(ctx, majorityWait)
	defer cancel()
	_, err := s.inspect(within, majorityProbe)
	if err != nil && !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrConfigMismatch) || ctx.Err() != nil {
		return err // of this call, not of the voters
	}
	m.asked, m.at, m.err = true, s.cfg.Clock(), err
	return err
}

// Quorum returns how many voters are up as far as this peer can see, and how many make a
// majority.
func (s *Session) Quorum() (up, needed int) {
	s.do(func(Time) { up, needed = s.node.Quorum() })
	return up, needed
}

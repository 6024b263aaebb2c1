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
	if short := s.livingVoters(); short != nil {
		return short
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

// livingVoters returns an error if too few voters are up to be asked at all.
func (s *Session) livingVoters() (err error) {
	s.do(func(Time) {
		if up, need := len(s.node.liveVoters), s.node.voters.majority(); up < need {
			err = &UnavailableError{Lock: majorityProbe, Reachable: up, Needed: need}
		}
	})
	return err
}

package api

import (
	"context"
	"fmt"
	"sync"
)

// Shares hands out a resource that all callers share, and bounds the share of each. A caller is
// the string that CallerOf returns.
type Shares struct {
	what       string
	most, each int

	mu    sync.Mutex
	taken int
	by    map[string]int // how much each caller has, without callers that have none
}

// NewShares returns shares of a resource of which there are most, and at most each for one caller.
// A part of it is kept for callers that have few; see Kept.
func NewShares(what string, most, each int) *Shares {
	return &Shares{what: what, most: most, each: each, by: map[string]int{}}
}

// Kept returns how much of a resource is kept for callers that have fewer than few of it: an eighth
// of the resource, for callers that have less than a 64th. So however much two callers take, some
// is left for others.
func Kept(most int) (kept, few int) { return most / 8, max(most/64, 1) }

// Take gives a caller one more, which Give returns. If none is left for it, it gets a *LimitError.
func (s *Shares) Take(caller string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept, few := Kept(s.most)
	switch {
	case s.by[caller] >= s.each:
		return &LimitError{What: s.what, Most: s.each, Own: true}
	case s.taken >= s.most:
		return &LimitError{What: s.what, Most: s.most}
	case s.taken >= s.most-kept && s.by[caller] >= few:
		return &LimitError{What: s.what, Most: s.most, Own: true, Few: few}
	}
	s.taken++
	s.by[caller]++
	return nil
}

// Give returns one that a caller had.
func (s *Shares) Give(caller string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken--
	if s.by[caller]--; s.by[caller] == 0 {
		delete(s.by, caller)
	}
}

// Taken returns how many all callers have together.
func (s *Shares) Taken() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken
}

// LimitError is the error of a caller that has its share, or of any caller if all is taken.
type LimitError struct {
	What string
	Most int
	Own  bool // the caller has its own share
	Few  int  // if not 0, the rest of Most is kept for callers that have fewer than this
}

// Error names the bound.
func (e *LimitError) Error() string {
	if e.Few > 0 {
		return fmt.Sprintf("the last of %d %s are kept for clients that have fewer than %d", e.Most, e.What, e.Few)
	}
	if e.Own {
		return fmt.Sprintf("one client may have at most %d %s at once, and this client has that many", e.Most, e.What)
	}
	return fmt.Sprintf("all %d %s are taken", e.Most, e.What)
}

type callerKey struct{}

// WithCaller returns a context for the calls of one client, which is a token or, without tokens,
// an address.
func WithCaller(ctx context.Context, caller string) context.Context {
	return context.WithValue(ctx, callerKey{}, caller)
}

// CallerOf returns the caller in ctx; "" stands for this process.
func CallerOf(ctx context.Context) string {
	caller, _ := ctx.Value(callerKey{}).(string)
	return caller
}

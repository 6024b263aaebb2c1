package api

import (
	"context"
	"fmt"
	"sync"
)

// Shares hands out what all callers have in common, to each no more than its share. A
// caller is what CallerOf says.
type Shares struct {
	what       string
	most, each int

	mu    sync.Mutex
	taken int
	by    map[string]int // callers that have some
}

// NewShares returns shares of what there is most of, to each caller at most each. The last
// of it is for callers that have few, see Kept.
func NewShares(what string, most, each int) *Shares {
	return &Shares{what: what, most: most, each: each, by: map[string]int{}}
}

// Kept returns how much of what there is most of is kept for callers that have fewer than
// few, an eighth of it for those that have less than a 64th: however much two of them
// take, there is some for the others.
func Kept(most int) (kept, few int) { return most / 8, max(most/64, 1) }

// Take gives caller one more, to be given back by Give. Otherwise it returns a *LimitError.
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

// Give takes one back that caller had.
func (s *Shares) Give(caller string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken--
	if s.by[caller]--; s.by[caller] == 0 {
		delete(s.by, caller)
	}
}

// Taken returns how many all callers have.
func (s *Shares) Taken() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken
}

// LimitError says that a caller has its share, or that all together have all there is.
type LimitError struct {
	What string
	Most int
	Own  bool // the caller has its share, or
	Few  int  // not fewer than so many, for which the last of Most is kept; 0 if that is not why
}

// Error names the bound.
func (e *LimitError) Error() string {
	if e.Few > 0 {
		return fmt.Sprintf("the last of %d %s are for clients that have fewer than %d", e.Most, e.What, e.Few)
	}
	if e.Own {
		return fmt.Sprintf("one client may have %d %s at once, and this one has them", e.Most, e.What)
	}
	return fmt.Sprintf("%d %s are taken at once, which is the most", e.Most, e.What)
}

type callerKey struct{}

// WithCaller returns a context of the calls of one client: a token, or an address where
// there are none.
func WithCaller(ctx context.Context, caller string) context.Context {
	return context.WithValue(ctx, callerKey{}, caller)
}

// CallerOf returns whose calls those of ctx are, "" if nobody said: of this process.
func CallerOf(ctx context.Context) string {
	caller, _ := ctx.Value(callerKey{}).(string)
	return caller
}

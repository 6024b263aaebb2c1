package api

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"github.com/sentinel-peer/sentinel-peer/internal/verdict"
)

// Reloads remembers which of a daemon's files were refused when they were last read again. All
// surfaces of a daemon share it. A nil *Reloads and the zero value remember nothing yet.
type Reloads struct {
	mu      sync.Mutex
	refused map[string]error
}

// Done records that what, such as "keys", was read again, and the error if it was refused. Only
// the latest result of each counts.
func (r *Reloads) Done(what string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.refused, what)
	if err == nil {
		return
	}
	if r.refused == nil {
		r.refused = make(map[string]error)
	}
	r.refused[what] = err
}

// shown returns what was refused, sorted. The errors name files, so only callers that may
// administer the cluster see them.
func (r *Reloads) shown(grant *Grant) []verdict.Refused {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	refused := maps.Clone(r.refused)
	r.mu.Unlock()
	var list []verdict.Refused
	for what, err := range refused { // sorted below
		one := verdict.Refused{What: what}
		if grant.Allows(Right{Verb: Admin}) {
			one.Why = err.Error()
		}
		list = append(list, one)
	}
	slices.SortFunc(list, func(x, y verdict.Refused) int { return cmp.Compare(x.What, y.What) })
	return list
}

package dashboard

import (
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// holder is a holder of a lock, how long it has held it, and when its record expires.
type holder struct {
	api.LockHolder
	For, Left string
}

// waiter is a client that waits for a lock, and how long it has waited.
type waiter struct {
	api.LockWaiter
	For string
}

// record is a lock that is held or waited for.
type record struct {
	Lock, Href string
	Holders    []holder
	Waiters    []waiter
	More       int
}

func (v *view) record(l api.LockEntry) record {
	r := record{Lock: l.Lock, Href: address("/ui/locks", "name", l.Lock), More: l.More}
	for _, h := range l.Holders {
		r.Holders = append(r.Holders, holder{h, ago(v.now.Sub(h.Since)), ago(time.Duration(h.Remaining))})
	}
	for _, w := range l.Waiters {
		r.Waiters = append(r.Waiters, waiter{w, ago(v.now.Sub(w.Since))})
	}
	return r
}

// locks loads the table of the cluster's locks with their holders and waiters.
func locks(v *view) (any, error) {
	type data struct {
		api.LockList
		Records     []record
		First, Next string
		Stats       lockservice.Stats
		Quiet       string // the time until this voter takes part
	}
	s, after := v.agent.Locks(), v.query.Get("after")
	list, err := do[api.LockList](v, "lock_list", api.Request{Query: url.Values{"limit": {strconv.Itoa(maxRows)}, "after": {after}}})
	if err != nil {
		return nil, err
	}
	d := data{LockList: list, Stats: s.Stats()}
	if d.Stats.Quarantine > 0 && slices.Contains(s.Voters().Names, v.agent.Name()) {
		d.Quiet = ago(d.Stats.Quarantine)
	}
	if after != "" {
		d.First = "/ui/locks"
	}
	if list.Next != "" {
		d.Next = address("/ui/locks", "after", list.Next)
	}
	for _, l := range list.Items {
		d.Records = append(d.Records, v.record(l))
	}
	return d, nil
}

// inspectLock loads one lock: the holders from the voters, and the waiters from the peers.
func inspectLock(v *view) (any, error) {
	type data struct {
		api.LockInfo
		Shown record
	}
	name := v.query.Get("name")
	if name == "" {
		return nil, nil
	}
	info, err := do[api.LockInfo](v, "lock_inspect", api.Request{Key: name})
	if err != nil {
		return nil, err
	}
	return data{info, v.record(info.LockEntry)}, nil
}

package dashboard

import (
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// claims is how the names of the leases of claimed items begin: the page of queues has them.
const claims = "queues/"

// holder is who holds a lock, for how long, and how long the record of that lasts.
type holder struct {
	Peer      string
	Client    string // "" if it is one of another daemon's
	Token     uint64
	Shared    bool
	For, Left string
}

// locks is the table of the locks that this voter has on record, and of the clients of
// this daemon that hold locks or wait for them.
func locks(v *view) (any, error) {
	type record struct {
		Lock, Href string
		Holders    []holder
		Waiting    []string
	}
	type caller struct {
		api.Caller
		Href, For, Left string
	}
	type data struct {
		Records         []record
		Voter           bool
		Voters          []agent.Member
		First, Next     string
		Holding         []caller
		Waiting         []caller
		MoreHold, MoreW int
		Stats           lockservice.Stats
		Quiet           string // until this voter takes part
		Worth           string // guarantee, where that is not a quorum's
	}
	s := v.agent.Locks()
	d := data{Stats: s.Stats(), Voter: slices.Contains(s.Voters().Names, v.agent.Name())}
	if d.Stats.Quarantine > 0 {
		d.Quiet = ago(d.Stats.Quarantine)
	}
	if g := s.Guarantee(); g != lockservice.Quorum {
		d.Worth = g.String()
	}
	for _, m := range v.agent.Members() {
		if !m.Self && m.State == "alive" && slices.Contains(s.Voters().Names, m.Name) {
			d.Voters = append(d.Voters, m)
		}
	}
	here := make(map[string]map[uint64]string) // clients of this daemon, by lock and token
	for _, c := range v.cfg.Leases.Callers(v.grant) {
		row := caller{c, address("/ui/locks", "name", c.Lock), ago(v.now.Sub(c.Since)), ""}
		switch {
		case c.Token == 0 && len(d.Waiting) == maxRows:
			d.MoreW++
		case c.Token == 0:
			d.Waiting = append(d.Waiting, row)
		case len(d.Holding) == maxRows:
			d.MoreHold++
		default:
			d.Holding = append(d.Holding, row)
		}
		if here[c.Lock] == nil {
			here[c.Lock] = make(map[uint64]string)
		}
		here[c.Lock][c.Token] = c.Client
	}
	after := v.query.Get("after")
	list, more := s.Records(after, claims, maxRows)
	if after != "" {
		d.First = "/ui/locks"
	}
	if more {
		d.Next = address("/ui/locks", "after", list[len(list)-1].Lock)
	}
	for _, r := range list {
		if !v.grant.MayLock(r.Lock) {
			continue
		}
		row := record{Lock: r.Lock, Href: address("/ui/locks", "name", r.Lock), Waiting: r.Waiting}
		for _, h := range r.Holders {
			row.Holders = append(row.Holders, holder{h.Inst.Node, here[r.Lock][h.Token], h.Token, h.Mode == lockservice.Shared,
				ago(v.now.Sub(lockservice.TokenTime(h.Token))), ago(h.Left)})
		}
		d.Records = append(d.Records, row)
	}
	return d, nil
}

// inspectLock asks the voters who holds the lock that the page names.
func inspectLock(v *view) (any, error) {
	type data struct {
		api.LockInfo
		Holders []holder
	}
	name := v.query.Get("name")
	if name == "" {
		return nil, nil
	}
	info, err := do[api.LockInfo](v, "lock_inspect", api.Request{Key: name})
	if err != nil {
		return nil, err
	}
	d := data{LockInfo: info}
	for _, h := range info.Holders {
		d.Holders = append(d.Holders, holder{h.Peer, "", h.Token, h.Shared, ago(v.now.Sub(h.Since)), ago(time.Duration(h.Remaining))})
	}
	for _, c := range v.cfg.Leases.Callers(v.grant) {
		for i := range d.Holders {
			if h := &d.Holders[i]; c.Lock == name && c.Token == h.Token {
				h.Client = c.Client
			}
		}
	}
	return d, nil
}

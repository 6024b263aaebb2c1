package api

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// LockHolder is a holder of a lock, or a client that may still be one.
type LockHolder struct {
	Peer      string    `json:"peer"`             // the peer through which the lock is held
	Client    string    `json:"client,omitempty"` // the client of that peer, if the peer names it
	Token     uint64    `json:"token"`
	Shared    bool      `json:"shared,omitempty"`
	Since     time.Time `json:"since"`     // by the clock of the voter that made the token
	Remaining Duration  `json:"remaining"` // of the record, which outlasts the lease a little
	Voters    int       `json:"voters"`    // how many of the voters that answered have it on record
}

// LockWaiter is a client that waits for a lock.
type LockWaiter struct {
	Peer   string    `json:"peer"`
	Client string    `json:"client,omitempty"`
	Shared bool      `json:"shared,omitempty"`
	Since  time.Time `json:"since"`
}

// LockEntry is the holders and the waiters of a lock, the waiters in the order of their requests.
type LockEntry struct {
	Lock    string       `json:"lock"`
	Holders []LockHolder `json:"holders"`
	Waiters []LockWaiter `json:"waiters"`
	More    int          `json:"more,omitempty"` // how many further clients hold or wait
}

// LockList is a page of the locks of the cluster.
type LockList struct {
	Items     []LockEntry `json:"items"`
	Next      string      `json:"next,omitempty"`    // the value of ?after= for the next page; "" on the last
	Unknown   []string    `json:"unknown,omitempty"` // peers that do not answer, so that their clients are missing
	Certain   bool        `json:"certain"`           // a majority of the voters has answered
	Guarantee string      `json:"guarantee"`
}

const (
	claimedLocks = "queues/"              // the prefix of the leases of claimed items, which are not listed as locks
	surveyWait   = 500 * time.Millisecond // the time for all peers to answer one survey
	surveysWait  = 2 * time.Second        // the time for a page that needs several surveys
	maxClaim     = 64                     // the most bytes with which a client may describe itself
)

// by returns how a client that asks for a lock is described to others: as the surface knows it,
// followed by how it describes itself.
func (r Request) by(claim string) (lockservice.Option, error) {
	if len(claim) > maxClaim || !utf8.ValidString(claim) || strings.IndexFunc(claim, unicode.IsControl) >= 0 {
		return nil, bad("client %q: want up to %d bytes of text without control characters", claim[:min(len(claim), maxClaim)], maxClaim)
	}
	who := r.Client
	switch {
	case who == "":
		who = claim
	case claim != "":
		who += ", says it is " + claim
	}
	who = strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return -1
		}
		return c
	}, strings.ToValidUTF8(who, "\uFFFD"))
	if len(who) > lockservice.MaxClientBytes {
		who = strings.ToValidUTF8(who[:lockservice.MaxClientBytes-len("…")], "") + "…"
	}
	return lockservice.WithClient(who), nil
}

func survey(ctx context.Context, a *agent.Agent, q lockservice.Query) (lockservice.Survey, error) {
	within, cancel := context.WithTimeout(ctx, surveyWait)
	defer cancel()
	return a.Locks().Survey(within, q)
}

// listLocks asks all peers, page by page, until there are enough locks that the caller may see.
func listLocks(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	limit, err := r.limit()
	if err != nil {
		return Response{}, err
	}
	grant, now := GrantOf(ctx), time.Now()
	out := LockList{Items: []LockEntry{}, Next: r.Query.Get("after"), Certain: true, Guarantee: a.Locks().Guarantee().String()}
	unknown := make(map[string]bool)
	for {
		s, err := survey(ctx, a, lockservice.Query{After: out.Next, Skip: claimedLocks, Most: limit - len(out.Items)})
		if err != nil {
			return Response{}, err
		}
		for _, l := range s.Locks {
			if grant.MayLock(l.Lock) {
				out.Items = append(out.Items, entryOf(now, l))
			}
		}
		for _, peer := range s.Silent {
			unknown[peer] = true
		}
		out.Next, out.Certain = s.Next, out.Certain && s.Certain
		if s.Next == "" || len(out.Items) == limit || time.Since(now) > surveysWait || ctx.Err() != nil {
			break
		}
	}
	out.Unknown = slices.Sorted(maps.Keys(unknown))
	return Response{Body: out}, ctx.Err()
}

func entryOf(now time.Time, l lockservice.Locked) LockEntry {
	e := LockEntry{Lock: l.Lock, Holders: []LockHolder{}, Waiters: []LockWaiter{}, More: l.More}
	for _, c := range l.Holders {
		e.Holders = append(e.Holders, holderOf(c))
	}
	for _, c := range l.Waiting {
		e.Waiters = append(e.Waiters, LockWaiter{Peer: c.Peer, Client: c.Name, Shared: c.Mode == lockservice.Shared,
			Since: now.Add(-c.For).UTC().Truncate(time.Millisecond)})
	}
	return e
}

func holderOf(c lockservice.Client) LockHolder {
	return LockHolder{Peer: c.Peer, Client: c.Name, Token: c.Token, Shared: c.Mode == lockservice.Shared,
		Since: lockservice.TokenTime(c.Token).UTC(), Remaining: Duration(c.Left.Round(time.Millisecond)), Voters: c.Voters}
}

// LockInfo is what is on record for one lock: at a majority of the voters or, if no majority
// answers, at this peer and the voters that do.
type LockInfo struct {
	LockEntry
	Source  string   `json:"source"`            // "voters" or "here"
	Why     string   `json:"why,omitempty"`     // why no majority answered
	Waiting int      `json:"waiting"`           // the number of waiters, listed or not
	Owner   string   `json:"owner,omitempty"`   // the voter that orders the queue
	Certain bool     `json:"certain"`           // a majority agrees on the holders
	Unknown []string `json:"unknown,omitempty"` // peers that do not answer, so that their clients are missing
}

// inspectWait is the time for the voters to name the holders of a lock.
const inspectWait = 500 * time.Millisecond

// inspectLock returns what a majority of the voters has on record. If too few voters are up, or
// did not answer just before, it returns at once what is known at this peer. Meanwhile it asks
// all peers for their clients.
func inspectLock(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	type surveyed struct {
		lockservice.Survey
		err error
	}
	clients := make(chan surveyed, 1)
	go func() {
		s, err := survey(ctx, a, lockservice.Query{Only: r.Key})
		clients <- surveyed{s, err}
	}()
	s, source := a.Locks(), "voters"
	info, err := askVoters(ctx, s, r.Key)
	short, unavailable := errors.AsType[*lockservice.UnavailableError](err)
	if unavailable && ctx.Err() == nil {
		source = "here"
		info, err = s.Recorded(r.Key)
	}
	known := <-clients
	if err = cmp.Or(err, known.err); err != nil {
		return Response{}, err
	}
	l := lockservice.Locked{Lock: r.Key}
	if len(known.Locks) > 0 {
		l = known.Locks[0]
	}
	out := LockInfo{LockEntry: entryOf(time.Now(), l), Source: source, Owner: info.Owner, Certain: info.Certain, Unknown: known.Silent}
	out.Waiting = max(info.Waiting, len(out.Waiters)+out.More)
	if unavailable {
		out.Why = short.Error()
		return Response{Body: out}, nil
	}
	out.Holders = out.Holders[:0] // the answer of a majority replaces what the peers said
	for _, h := range info.Holders {
		c := lockservice.Client{Peer: h.Inst.Node, Mode: h.Mode, Token: h.Token, Left: h.Left}
		if at := slices.IndexFunc(l.Holders, func(k lockservice.Client) bool { return k.Token == h.Token }); at >= 0 {
			c.Peer, c.Name, c.Voters = l.Holders[at].Peer, l.Holders[at].Name, l.Holders[at].Voters
		}
		out.Holders = append(out.Holders, holderOf(c))
	}
	return Response{Body: out}, nil
}

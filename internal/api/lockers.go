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

// LockHolder is who holds a lock, or may.
type LockHolder struct {
	Peer      string    `json:"peer"`             // through which it is held
	Client    string    `json:"client,omitempty"` // of that peer, as far as that says
	Token     uint64    `json:"token"`
	Shared    bool      `json:"shared,omitempty"`
	Since     time.Time `json:"since"`     // by the clock of the voter that made the token
	Remaining Duration  `json:"remaining"` // of the record, which outlasts the lease a little
	Voters    int       `json:"voters"`    // that have it on record, of those that answered
}

// LockWaiter is who waits for a lock.
type LockWaiter struct {
	Peer   string    `json:"peer"`
	Client string    `json:"client,omitempty"`
	Shared bool      `json:"shared,omitempty"`
	Since  time.Time `json:"since"`
}

// LockEntry is who holds a lock and who waits for it, in the order in which they asked.
type LockEntry struct {
	Lock    string       `json:"lock"`
	Holders []LockHolder `json:"holders"`
	Waiters []LockWaiter `json:"waiters"`
	More    int          `json:"more,omitempty"` // that hold or wait and are not listed
}

// LockList is a page of the locks of the cluster.
type LockList struct {
	Items     []LockEntry `json:"items"`
	Next      string      `json:"next,omitempty"`    // ?after= for the next page; the last has none
	Unknown   []string    `json:"unknown,omitempty"` // peers that do not answer: their clients are not known
	Certain   bool        `json:"certain"`           // a majority of voters has answered
	Guarantee string      `json:"guarantee"`
}

const (
	claimedLocks = "queues/"              // how the leases of claimed items are called, which are no locks of clients
	surveyWait   = 500 * time.Millisecond // for the peers
	surveysWait  = 2 * time.Second        // for a page that takes several surveys
	maxClaim     = 64                     // bytes of what a client calls itself
)

// by names who asks for a lock, to those who look at it: as the surface knows it, and behind
// that as it calls itself.
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

// listLocks asks all peers, page by page until those that the caller may see are enough.
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

// LockInfo is what is on record for a lock: at a majority of voters, or at this peer alone
// and those that answer it where no majority does.
type LockInfo struct {
	LockEntry
	Source  string   `json:"source"`            // voters or here
	Why     string   `json:"why,omitempty"`     // no majority says it
	Waiting int      `json:"waiting"`           // who wait, listed or not
	Owner   string   `json:"owner,omitempty"`   // the voter that orders the queue
	Certain bool     `json:"certain"`           // a majority agrees on the holders
	Unknown []string `json:"unknown,omitempty"` // peers that do not answer: their clients are not known
}

// inspectWait is how long the voters may take to say who holds a lock.
const inspectWait = 500 * time.Millisecond

// inspectLock tells what a majority of voters says or, where none answers, what is known
// here: at once if too few voters are up, or did not answer just before. All peers are
// asked for their clients meanwhile.
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
	out.Holders = out.Holders[:0] // a majority's word counts
	for _, h := range info.Holders {
		c := lockservice.Client{Peer: h.Inst.Node, Mode: h.Mode, Token: h.Token, Left: h.Left}
		if at := slices.IndexFunc(l.Holders, func(k lockservice.Client) bool { return k.Token == h.Token }); at >= 0 {
			c.Peer, c.Name, c.Voters = l.Holders[at].Peer, l.Holders[at].Name, l.Holders[at].Voters
		}
		out.Holders = append(out.Holders, holderOf(c))
	}
	return Response{Body: out}, nil
}

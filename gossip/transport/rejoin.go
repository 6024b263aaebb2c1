package transport

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// rejoin reunites a cluster after a partition. memberlist stops dialling a member half a minute
// after it was declared dead, so that a long partition would last for ever. rejoin remembers
// the seeds and each address that a member ever had, and dials those that no living member
// has: first after RejoinMin, then less and less often, at least every RejoinMax, without end.
// One answer merges the two sides, and makes the other missing addresses due at once.
//
// An address is forgotten when its member left on purpose, and when there are more than maxBook;
// a seed never is.
type rejoin struct {
	m      *Memberlist
	cancel context.CancelFunc
	ctx    context.Context

	mu    sync.Mutex // guards what follows
	book  map[string]*place
	names []*place // the seeds, as they were given
}

const (
	maxBook      = 4096
	maxDials     = 8 // greatest number of dials at the same time
	maxDue       = 2 // dials begun in one period besides seeds, so that crashed peers do not cost more and more
	lookupLimit  = 5 * time.Second
	aliasPause   = time.Minute // between dials of a seed that answers but is nobody's own address
	rejoinPeriod = 250 * time.Millisecond

	// When many start at once the gossip about them may miss some, until the
	// next exchange of member lists. The seed has heard of all: a while after it
	// first answered we ask it again.
	settlePause = 3 * time.Second
)

// place is one address, or one seed, and when to try it next.
type place struct {
	addr  string
	seed  bool
	ids   map[string]struct{} // living members there
	since time.Time           // when the last of them went; zero while one lives there, and before the first came
	next  time.Time
	pause time.Duration
	busy  bool // being dialled
	again bool // the next try dials although a member lives there: see settlePause
}

func newRejoin(m *Memberlist) *rejoin {
	r := &rejoin{m: m, book: make(map[string]*place)}
	r.ctx, r.cancel = context.WithCancel(m.ctx)
	for _, s := range m.cfg.Seeds {
		r.names = append(r.names, &place{addr: strings.TrimSpace(s), seed: true})
	}
	return r
}

func (r *rejoin) stop() { r.cancel() }

// seen notes that a member lives at an address.
func (r *rejoin) seen(m Member) {
	now := time.Now()
	r.mu.Lock()
	p := r.book[m.Addr]
	if p == nil {
		p = &place{addr: m.Addr, ids: make(map[string]struct{})}
		r.book[m.Addr] = p
		r.shrink()
	}
	lost := p.since
	p.ids[m.ID] = struct{}{}
	p.since, p.pause = time.Time{}, 0
	r.mu.Unlock()
	if !lost.IsZero() {
		r.m.stats.heals.Add(1)
		r.m.log.Info("healed: a lost member is back", "addr", m.Addr, "peer", m.ID, "away", now.Sub(lost).Round(time.Millisecond))
	}
}

// lost notes that a member stopped answering.
func (r *rejoin) lost(id, addr string) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.book[addr]
	if p == nil {
		return
	}
	delete(p.ids, id)
	if len(p.ids) == 0 && p.since.IsZero() {
		p.since, p.next, p.pause = now, now.Add(r.jitter(r.m.cfg.RejoinMin)), r.m.cfg.RejoinMin
	}
}

// forget ends the search for a member that left on purpose.
func (r *rejoin) forget(addr string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.book[addr]; p != nil && len(p.ids) == 0 {
		delete(r.book, addr)
	}
}

// shrink drops the address that has been missing longest if there are too many.
func (r *rejoin) shrink() {
	if len(r.book) <= maxBook {
		return
	}
	var oldest *place
	for _, p := range r.book {
		if !p.since.IsZero() && (oldest == nil || p.since.Before(oldest.since)) {
			oldest = p
		}
	}
	if oldest != nil {
		delete(r.book, oldest.addr)
	}
}

// missing counts the addresses without a living member.
func (r *rejoin) missing(now time.Time) (n int, age time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.book {
		if !p.since.IsZero() {
			n, age = n+1, max(age, now.Sub(p.since))
		}
	}
	return n, age
}

// jitter keeps peers that lost each other at once from dialling at once.
func (r *rejoin) jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }

func (r *rejoin) run() {
	dials := make(chan struct{}, maxDials)
	var wg sync.WaitGroup
	defer wg.Wait()
	tidied := time.Now()
	for {
		now := time.Now()
		for _, p := range r.due(now) {
			select {
			case dials <- struct{}{}:
				wg.Go(func() {
					defer func() { <-dials }()
					r.try(p)
				})
			default: // its turn comes in the next period
				r.mu.Lock()
				p.busy = false
				r.mu.Unlock()
			}
		}
		if now.Sub(tidied) > 10*time.Second {
			tidied = now
			r.m.members.tidy(now)
		}
		if !sleep(r.ctx, r.jitter(rejoinPeriod)) {
			return
		}
	}
}

// due returns the places to dial now and marks them busy: all seeds that are due, then up to maxDue
// addresses in the order in which they became due.
func (r *rejoin) due(now time.Time) []*place {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []*place
	for _, p := range r.names {
		if !p.busy && !now.Before(p.next) {
			found = append(found, p)
		}
	}
	seeds := len(found)
	for _, p := range r.book {
		if !p.since.IsZero() && !p.busy && !now.Before(p.next) {
			found = append(found, p)
		}
	}
	slices.SortFunc(found[seeds:], func(a, b *place) int { return a.next.Compare(b.next) })
	found = found[:min(len(found), seeds+maxDue)]
	for _, p := range found {
		p.busy = true
	}
	return found
}

// try dials one place and sets the time of its next try.
func (r *rejoin) try(p *place) {
	reached := false
	r.mu.Lock()
	settling := p.again
	p.again = false
	r.mu.Unlock()
	addrs := []string{p.addr}
	if p.seed {
		addrs = r.lookup(p.addr)
	}
	for _, a := range addrs {
		if r.ctx.Err() != nil {
			return
		}
		if a == r.m.addr || r.lives(a) && !settling {
			continue
		}
		r.m.stats.rejoins.Add(1)
		if _, err := r.m.list.Join([]string{a}); err != nil {
			r.m.log.Debug("rejoin", "addr", a, "err", err)
			if p.seed {
				r.explain(p.addr, a)
			}
			continue
		}
		reached = true
		if settling {
			break // one exchange with a member that knows all members is enough
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p.busy = false
	cfg := &r.m.cfg
	switch {
	case reached && p.seed && !settling:
		p.again = true
		p.next = time.Now().Add(r.jitter(settlePause))
		r.hurry()
	case reached:
		p.pause = cfg.RejoinMin
		p.next = time.Now().Add(r.jitter(aliasPause))
		r.hurry()
	case p.seed && r.allLive(addrs):
		p.pause = 0
		p.next = time.Now().Add(r.jitter(cfg.RejoinMax))
	default:
		p.pause = min(max(2*p.pause, cfg.RejoinMin), cfg.RejoinMax)
		p.next = time.Now().Add(r.jitter(p.pause))
	}
}

// strangers describes what is wrong with a seed that answers but refuses this peer.
var strangers = map[cause]string{
	refuseCluster:   "the peer at this seed belongs to another cluster",
	refuseKey:       "the peer at this seed does not have our key",
	refuseVersion:   "the peer at this seed speaks another version",
	refuseMalformed: "what answers at this seed is no peer",
}

// explain logs why a seed refuses this peer. memberlist only closes the connection; explain opens a
// peer stream to an unknown member, which the seed refuses with a reason.
func (r *rejoin) explain(seed, addr string) {
	conn, _, err := r.m.mux.hail(memberlist.Address{Addr: addr}, forFrames, r.m.cfg.HandshakeTimeout)
	if err == nil {
		conn.Close() // the seed accepts any target, so it has no reason to report
		return
	}
	if refused, ok := errors.AsType[*refusal](err); ok && strangers[refused.why] != "" {
		r.m.warn.on("join: "+refused.why.String()).Warn(strangers[refused.why], "addr", addr, "our cluster", r.m.cfg.Cluster)
		return
	}
	r.m.warn.on("join: "+seed).Warn("seed does not answer; will try again", "seed", seed, "addr", addr, "err", err)
}

// hurry makes every missing place due soon, since the network seems to be back. The caller holds mu.
func (r *rejoin) hurry() {
	now := time.Now()
	for _, p := range r.book {
		if !p.since.IsZero() {
			p.pause = 0
			if soon := now.Add(r.jitter(r.m.cfg.RejoinMin)); p.next.After(soon) {
				p.next = soon
			}
		}
	}
}

func (r *rejoin) lives(addr string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.book[addr]
	return p != nil && len(p.ids) > 0
}

// allLive reports whether each address of a seed is that of this peer or of a living member. The
// caller holds mu.
func (r *rejoin) allLive(addrs []string) bool {
	for _, a := range addrs {
		if p := r.book[a]; a != r.m.addr && (p == nil || len(p.ids) == 0) {
			return false
		}
	}
	return len(addrs) > 0
}

// lookup resolves a seed, every time anew, since names may move. A seed without a port gets the port
// of this peer.
func (r *rejoin) lookup(seed string) []string {
	host, port, err := net.SplitHostPort(seed)
	if err != nil {
		host = strings.Trim(seed, "[]")
		_, port, _ = net.SplitHostPort(r.m.addr)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		r.m.warn.on("seeds").Warn("seed has no usable port", "seed", seed)
		return nil
	}
	ips := []netip.Addr{}
	if ip, err := netip.ParseAddr(host); err == nil {
		ips = append(ips, ip)
	} else {
		ctx, cancel := context.WithTimeout(r.ctx, lookupLimit)
		defer cancel()
		if ips, err = net.DefaultResolver.LookupNetIP(ctx, "ip", host); err != nil {
			r.m.warn.on("seeds").Warn("seed does not resolve; will try again", "seed", seed, "err", err)
			return nil
		}
	}
	addrs := make([]string, 0, len(ips))
	for _, ip := range ips {
		addrs = append(addrs, netip.AddrPortFrom(ip.Unmap(), uint16(n)).String())
	}
	return addrs
}

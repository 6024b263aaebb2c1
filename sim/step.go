package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// Do carries out one step of a script, a fault or a write:
//
//	2 put KEY VALUE [ttl=3s]   2 delete KEY          2 putif KEY VALUE
//	2 add KEY VALUE…           2 remove KEY VALUE…
//	2 incr KEY N               2 max KEY N
//	2 patch KEY OBJECT         2 replace KEY OBJECT   2 sibling KEY VALUE
//	2 put a 1 ; add b 2        one batch
//	2 urgent put a 1           does not wait for company
//	2 fill 1000000             so many keys fill/0, fill/1, …, which the model leaves out
//	2 wait                     asks the others to acknowledge its writes
//	cut 1,2 | 3                both ways      cut 1 > 2,3   one way
//	heal                       all cuts       heal 1,2 | 3  these
//	replay 1,2 > 3             all packets of 1 and 2 come to 3, whomever they were for; also 1 > 1
//	block 1 > 2                packets only: streams carry on   unblock 1 > 2
//	kill 2   start 2           the process    tear 2 3      its disk loses 3 transactions
//	stop 2                     the process, in order: it lets go of what is its own
//	pause 2  resume 2          SIGSTOP and SIGCONT           wipe 2  its disk loses all
//	slow 2 5ms                 takes so long for each frame from here on
//	suspect 1 2 5s             peer 1 takes peer 2 for dead
//	clone 1 2                  peer 2 goes on as a copy of peer 1, identity and all
//	next 2 KEY                 peer 2 hears from a peer of a later version
//	lie twice KEY              a member tells one write with two contents
//	lie gaps 2                 it asks peer 2 for all it has, 500 times
//	lie heads 2                it tells peer 2 of writes of 2,000 actors that there are not
//	lie name 2                 it claims to be voter 2, and votes for it without memory
//	lie seen 2                 it says that it has seen writes which peer 2 is yet to make
//	lie empty 2                it says to peer 2 that it holds nothing of what both have seen
//	2 lock NAME [ttl=1s] [wait=5s] [hold=2s] [shared] [manual]
//	2 trylock NAME …           is refused if others hold it
//	2 renew NAME   2 unlock NAME [stale]   as its holder; stale: as one that is none
//	2 move NAME                who holds it by hand (manual) goes on by peer 2
//	2 enqueue QUEUE VALUE [priority=1] [delay=2s] [id=x] [attempts=3]
//	2 work QUEUE 4 [ttl=2s] [takes=100ms] [then=complete|fail|dead|release|stall] [to=3]
//	2 requeue QUEUE            its dead items
//	2 beat WORKER 10s          it lives for so long, by peer 2
//	2 host WORKER 10s          it lives as long as peer 2; so long do others believe it
//	2 bye WORKER
//	2 watch 8 50ms             a subscriber takes so long for a change; up to 8 wait for it
//	voters 1-3                 all reload, with these for voters
//	freeze 2                   its clock for leases stands still, until calm
//	lose 0.2   calm            share of packets lost from here on; no faults
//	run 5s
//
// A value is JSON, else a string. A write that a peer refuses is an error of the run
// only if the script itself is wrong; a peer that is down writes nothing.
func (c *Cluster) Do(step string) error {
	do, err := steps{c}.compile(step)
	if err != nil {
		return fmt.Errorf("step %q: %w", step, err)
	}
	do()
	return nil
}

// steps reads the steps of a script: of each it returns what it does, or what is wrong
// with it.
type steps struct{ *Cluster }

// compile checks a step and returns what it does.
func (c steps) compile(step string) (func(), error) {
	words := strings.Fields(step)
	if len(words) == 0 {
		return nil, fmt.Errorf("is empty")
	}
	if _, err := strconv.Atoi(words[0]); err == nil {
		return c.write(words)
	}
	verb, args := words[0], words[1:]
	switch verb {
	case "cut", "heal":
		if verb == "heal" && len(args) == 0 {
			return c.healAll, nil
		}
		return c.cut(verb == "cut", args)
	case "block", "unblock":
		return c.block(verb == "block", args)
	case "replay":
		return c.replayed(strings.Join(args, " "))
	case "calm":
		return c.calm, nil
	case "run":
		d, err := duration(args, 0)
		return func() { c.Run(d) }, err
	case "lose":
		share, err := strconv.ParseFloat(strings.Join(args, ""), 64)
		if err != nil || share < 0 || share > 1 {
			return nil, fmt.Errorf("a share from 0 to 1 is wanted")
		}
		return func() { c.cfg.Loss = share; c.judge.faulted() }, nil
	case "voters":
		do, err := c.voters(args)
		return func() { c.judge.faulted(); do() }, err
	}
	if verb == "lie" {
		return c.lie(args)
	}
	return c.fault(verb, args)
}

func (c *Cluster) healAll() {
	c.net.cuts.clear()
	c.note(Healed, 0, "every cut is healed")
	c.changed()
}

// faults are the steps that name a peer first.
var faults = []string{"kill", "stop", "start", "pause", "resume", "tear", "wipe", "slow", "suspect", "freeze", "clone", "next"}

func (c steps) fault(verb string, args []string) (func(), error) {
	if !slices.Contains(faults, verb) {
		return nil, fmt.Errorf("no such step %q", verb)
	}
	p, err := c.peerArg(args, 0)
	if err != nil {
		return nil, err
	}
	var do func()
	switch verb {
	case "kill":
		do = p.kill
	case "stop":
		do = p.stop
	case "start":
		do = p.start
	case "pause":
		do = func() {
			if p.up && !p.paused {
				p.pause()
			}
		}
	case "resume":
		do = p.resume
	case "tear":
		n, err := strconv.Atoi(arg(args, 1))
		if err != nil || n < 1 {
			return nil, fmt.Errorf("a number of transactions is wanted")
		}
		do = func() { p.tear(n) }
	case "wipe":
		do = p.wipe
	case "slow":
		d, err := duration(args, 1)
		if err != nil {
			return nil, err
		}
		do = func() { p.pace(d) }
	case "suspect":
		q, err := c.peerArg(args, 1)
		if err != nil {
			return nil, err
		}
		lasts, err := duration(args, 2)
		if err != nil {
			return nil, err
		}
		do = func() {
			if p.up && q != p {
				p.suspect(q, lasts)
			}
		}
	case "freeze":
		if c.cfg.Locks.Voters == 0 {
			return nil, fmt.Errorf("there are no locks")
		}
		do = p.freeze
	case "clone":
		q, err := c.peerArg(args, 1)
		if err != nil {
			return nil, err
		}
		do = func() { p.clone(q) }
	default: // next
		if err := crdt.ValidateKey(arg(args, 1)); err != nil {
			return nil, err
		}
		do = func() { c.next.speak(p, args[1]) }
	}
	return func() { c.judge.faulted(); do() }, nil
}

func arg(args []string, i int) string {
	if i < len(args) {
		return args[i]
	}
	return ""
}

func duration(args []string, i int) (time.Duration, error) {
	d, err := time.ParseDuration(arg(args, i))
	if err != nil || d < 0 {
		return 0, fmt.Errorf("a duration like 5s is wanted, not %q", arg(args, i))
	}
	return d, nil
}

func (c steps) peerArg(args []string, i int) (*Peer, error) {
	n, err := strconv.Atoi(arg(args, i))
	if err != nil || n < 1 || n > len(c.peers) {
		return nil, fmt.Errorf("a peer from 1 to %d is wanted, not %q", len(c.peers), arg(args, i))
	}
	return c.peers[n-1], nil
}

func (c steps) peersArg(list string) ([]*Peer, error) {
	var peers []*Peer
	for _, s := range strings.Split(strings.ReplaceAll(list, " ", ""), ",") {
		lo, hi, isRange := strings.Cut(s, "-")
		if !isRange {
			hi = lo
		}
		first, err := c.peerArg([]string{lo}, 0)
		if err != nil {
			return nil, err
		}
		last, err := c.peerArg([]string{hi}, 0)
		if err != nil {
			return nil, err
		}
		for i := first.index; i <= last.index; i++ {
			peers = append(peers, c.peers[i])
		}
	}
	return peers, nil
}

func (c steps) cut(cut bool, args []string) (func(), error) {
	text := strings.Join(args, " ")
	each, oneWay, err := c.sidesArg(text)
	return func() {
		c.judge.faulted()
		each(func(from, to *Peer) { c.net.cuts.put(from, to, cut) })
		switch {
		case cut && oneWay:
			c.reached("a cut in one direction")
			c.note(Cut, 0, "cut one way: %s", text)
		case cut:
			c.note(Cut, 0, "cut: %s", text)
		default:
			c.note(Healed, 0, "healed: %s", text)
		}
		c.changed()
	}, err
}

func (c steps) block(block bool, args []string) (func(), error) {
	text := strings.Join(args, " ")
	each, _, err := c.sidesArg(text)
	return func() {
		c.judge.blocked()
		each(func(from, to *Peer) { c.net.blocks.put(from, to, block) })
		if block {
			c.note(Cut, 0, "no packets: %s", text)
		} else {
			c.note(Healed, 0, "packets pass: %s", text)
		}
	}, err
}

// sidesArg reads sides, 1,2 | 3 or 1 > 2,3, and returns what calls a function for each
// two peers that they part.
func (c steps) sidesArg(text string) (each func(f func(from, to *Peer)), oneWay bool, err error) {
	sides := strings.Split(text, "|")
	if strings.Contains(text, ">") {
		sides, oneWay = strings.Split(text, ">"), true
	}
	if len(sides) < 2 || oneWay && len(sides) != 2 {
		return nil, false, fmt.Errorf("sides are wanted, like 1,2 | 3 or 1 > 2,3")
	}
	groups := make([][]*Peer, len(sides))
	for i, side := range sides {
		if groups[i], err = c.peersArg(side); err != nil {
			return nil, false, err
		}
	}
	return func(f func(from, to *Peer)) {
		for i, from := range groups {
			for k, to := range groups {
				if i == k || oneWay && i > k {
					continue
				}
				for _, p := range from {
					for _, q := range to {
						f(p, q)
					}
				}
			}
		}
	}, oneWay, nil
}

// write reads "2 put a 1 ; add b 2".
func (c steps) write(words []string) (func(), error) {
	p, err := c.peerArg(words, 0)
	if err != nil {
		return nil, err
	}
	switch {
	case len(words) == 2 && words[1] == "wait":
		return p.wait, nil
	case len(words) == 3 && words[1] == "fill":
		n, err := strconv.Atoi(words[2])
		if err != nil || n < 1 || n > maxFill {
			return nil, fmt.Errorf("a number of keys from 1 to %d is wanted, not %q", maxFill, words[2])
		}
		return func() { p.fill(0, n) }, nil
	case len(words) > 1 && slices.Contains(queueVerbs, words[1]):
		return c.queue(p, words[1:])
	case len(words) > 1 && words[1] == "watch":
		return c.watch(p, words[2:])
	case len(words) > 1 && slices.Contains(beatVerbs, words[1]):
		return c.beat(p, words[1], words[2:])
	case len(words) > 1 && slices.Contains(lockVerbs, words[1]):
		return c.lock(p, words[1], words[2:])
	}
	var ops []crdt.Op
	var ttls []time.Duration
	conditional, urgent := false, false
	if words = words[1:]; words[0] == "urgent" {
		urgent, words = true, words[1:]
	}
	for _, part := range split(words, ";") {
		op, ttl, err := c.memo.parseOp(part)
		if err != nil {
			return nil, err
		}
		conditional = conditional || part[0] == "putif"
		ops, ttls = append(ops, op), append(ttls, ttl)
	}
	return func() {
		if !p.up {
			return
		}
		ops := slices.Clone(ops)
		for i, ttl := range ttls {
			if ttl > 0 {
				ops[i].Expiry = p.millis() + uint64(ttl.Milliseconds())
			}
			if conditional {
				version := new(crdt.Version)
				if e, ok := p.Get(ops[i].Key); ok {
					*version = e.Version()
				}
				if c.hash%4 == 0 {
					*version++ // as if somebody had written in between
				}
				ops[i].If = version
			}
		}
		_ = p.write(urgent, ops) // refused is refused: nothing was promised
	}, nil
}

// What fill writes: batches with pauses between them, which the network takes.
const (
	maxFill    = 10_000_000
	fillPrefix = "fill/"
	fillBatch  = 1000
	fillPause  = 10 * time.Millisecond
)

// fill writes keys from first on, up to n.
func (p *Peer) fill(first, n int) {
	if !p.up || p.paused || first == n {
		return
	}
	ops := make([]crdt.Op, min(fillBatch, n-first))
	for i := range ops {
		v, err := p.c.memo.value(strconv.Itoa((first + i) % 1000))
		if err != nil {
			return // it is a number
		}
		ops[i] = crdt.Op{Verb: crdt.Put, Key: fmt.Sprint(fillPrefix, first+i), Value: v}
	}
	if _, err := p.r.Write(p.wall(), false, ops...); err != nil {
		return // its clock is too far ahead
	}
	if !p.held() {
		p.carry()
	}
	p.c.At(p.c.now+fillPause, func() { p.fill(first+len(ops), n) })
}

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
//	2 urgent put a 1           sent at once, without waiting for the batch interval
//	2 fill 1000000             writes fill/0 to fill/999999, which the model leaves out
//	2 wait                     peer 2 asks the others to acknowledge its writes
//	cut 1,2 | 3                cuts both ways        cut 1 > 2,3   cuts one way
//	heal                       heals all cuts        heal 1,2 | 3  heals this one
//	block 1 > 2                packets do not pass, streams do
//	unblock 1 > 2              packets pass again
//	replay 1,2 > 3             peer 3 gets all packets of 1 and 2 again, also those for others
//	kill 2                     the process ends at once
//	stop 2                     the process ends in order: it releases its own locks first
//	start 2                    the process starts, with its disk if it has one
//	pause 2                    SIGSTOP
//	resume 2                   SIGCONT
//	tear 2 3                   the disk of a dead process loses the last 3 entries of its log
//	rot 2 3                    the third entry from the end becomes unreadable
//	wipe 2                     the disk of a dead process loses everything
//	slow 2 5ms                 peer 2 takes 5 ms for each frame from now on
//	suspect 1 2 5s             peer 1 takes peer 2 for dead for 5 s
//	clone 1 2                  peer 2 goes on as a copy of peer 1, with its actor
//	next 2 KEY                 peer 2 receives frames of a peer of a later version
//	lie twice KEY              a liar sends one write with two contents
//	lie gaps 2                 a liar asks peer 2 for all its writes, 500 times
//	lie heads 2                a liar announces writes of 2,000 invented actors to peer 2
//	lie name 2                 a liar claims to be voter 2, and votes for it without memory
//	lie seen 2                 a liar claims to have seen writes that peer 2 has yet to make
//	lie empty 2                a liar tells peer 2 that it holds none of the records of peer 2
//	2 lock NAME [ttl=1s] [wait=5s] [hold=2s] [shared] [bearer]
//	2 trylock NAME …           is refused if others hold the lock
//	2 renew NAME [stale]       the last call for the lock at peer 2 renews it; stale: one that is over
//	2 unlock NAME [stale]      the last call releases it, in the same way
//	2 move NAME                the bearer of the lock goes on at peer 2
//	2 enqueue QUEUE VALUE [priority=1] [delay=2s] [id=x] [attempts=3]
//	2 work QUEUE 4 [ttl=2s] [takes=100ms] [then=complete|fail|dead|release|stall] [to=3]
//	                           a worker takes 4 items, one after the other; it finishes at peer 3
//	2 requeue QUEUE            makes the dead items pending again
//	2 beat WORKER 10s          a worker beats once at peer 2, for 10 s
//	2 host WORKER 10s          peer 2 beats for a worker as long as it lives, each time for 10 s
//	2 bye WORKER               the worker ends its lease
//	2 watch 8 50ms             a subscriber takes 50 ms for a change; at most 8 may wait for it
//	voters 1-3                 all peers reload, with 1, 2 and 3 as the voters
//	freeze 2                   the boot clock of peer 2 stands still until calm
//	lose 0.2                   the share of packets that are lost from now on
//	calm                       ends all faults
//	run 5s                     lets 5 s pass
//
// A value is JSON; text that is not JSON is a string. Do fails only for a step that is
// faulty. A write that a peer refuses is no error, and a peer that is down writes nothing.
func (c *Cluster) Do(step string) error {
	do, err := steps{c}.compile(step)
	if err != nil {
		return fmt.Errorf("step %q: %w", step, err)
	}
	do()
	return nil
}

// steps parses the steps of a script. Each of its methods returns a function that carries
// the step out, or the error of the step.
type steps struct{ *Cluster }

// compile parses any step.
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

// faults are the verbs of the faults that concern one peer.
var faults = []string{"kill", "stop", "start", "pause", "resume", "tear", "rot", "wipe", "slow", "suspect", "freeze", "clone", "next"}

// fault parses a fault of one peer: see [Cluster.Do].
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
	case "tear", "rot":
		n, err := strconv.Atoi(arg(args, 1))
		if err != nil || n < 1 {
			return nil, fmt.Errorf("a number of entries is wanted")
		}
		do = func() { p.spoil(verb, n) }
	case "wipe":
		do = func() { p.spoil(verb, 0) }
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

// arg returns the i-th argument, or "" if there are fewer.
func arg(args []string, i int) string {
	if i < len(args) {
		return args[i]
	}
	return ""
}

// duration parses the i-th argument as a duration of 0 or more.
func duration(args []string, i int) (time.Duration, error) {
	d, err := time.ParseDuration(arg(args, i))
	if err != nil || d < 0 {
		return 0, fmt.Errorf("a duration like 5s is wanted, not %q", arg(args, i))
	}
	return d, nil
}

// peerArg parses the i-th argument as the number of a peer.
func (c steps) peerArg(args []string, i int) (*Peer, error) {
	n, err := strconv.Atoi(arg(args, i))
	if err != nil || n < 1 || n > len(c.peers) {
		return nil, fmt.Errorf("a peer from 1 to %d is wanted, not %q", len(c.peers), arg(args, i))
	}
	return c.peers[n-1], nil
}

// peersArg parses a list of peers: 1-3,5.
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

// cut parses "cut 1,2 | 3" and "heal 1,2 | 3".
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

// block parses "block 1 > 2" and "unblock 1 > 2".
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

// sidesArg parses sides, "1,2 | 3" or "1 > 2,3". The function each calls its argument for
// every ordered pair of peers on different sides; one way, only from the first side.
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

// write parses a step that begins with a peer, such as "2 put a 1 ; add b 2".
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
					*version++ // as if another write had come in between
				}
				ops[i].If = version
			}
		}
		_ = p.write(urgent, ops) // a refused write promises nothing
	}, nil
}

// fill writes batches of fillBatch keys, with a pause after each so that the network keeps up.
const (
	maxFill    = 10_000_000
	fillPrefix = "fill/"
	fillBatch  = 1000
	fillPause  = 10 * time.Millisecond
)

// fill writes the keys from first up to n-1. It gives up if the process does not run.
func (p *Peer) fill(first, n int) {
	if !p.up || p.paused || first == n {
		return
	}
	ops := make([]crdt.Op, min(fillBatch, n-first))
	for i := range ops {
		v, err := p.c.memo.value(strconv.Itoa((first + i) % 1000))
		if err != nil {
			return // a number is always a value
		}
		ops[i] = crdt.Op{Verb: crdt.Put, Key: fmt.Sprint(fillPrefix, first+i), Value: v}
	}
	if _, err := p.r.Write(p.wall(), false, ops...); err != nil {
		return // the clock of p is too far ahead
	}
	if !p.held() {
		p.carry()
	}
	p.c.At(p.c.now+fillPause, func() { p.fill(first+len(ops), n) })
}

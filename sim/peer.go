package sim

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/gossip"
	"github.com/sentinel-peer/sentinel-peer/internal/replica"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// Peer is one replica with its clock, its disk and its loop: the loop does one thing
// at a time, and while the disk writes or the process is stopped, frames wait.
type Peer struct {
	clocks
	name   string
	births uint64
	lives  []clock.Actor

	r        *replica.Replica // of this life
	up       bool
	disk     *disk
	txn      []crdt.Saved // being written
	paused   bool
	stopping *replica.Replica // the life that stops in order and is about to end
	resumed  time.Duration    // when it last was
	slow     time.Duration    // what the loop takes for a frame
	quick    time.Duration    // when that last became nothing again
	busy     bool             // with one
	inbox    [][]byte         // frames that came while the loop was held up
	ticking  time.Duration
	sent     uint64
	post     *post

	sees     []sight // of each peer
	ignorant bool    // somebody was never heard of in this life
	suspects map[int]bool
	work     *workshop          // of this life
	locks    *locker            // of this life; nil without voters
	voters   lockservice.Voters // as it is configured
	boots    uint64             // lives of its lock machine
	readers  []*reader
	shadow   map[string]string // what the changes told so far, as shown says it

	// OnChange, if set, hears each change of a key as a subscriber would. It may
	// write. A lazy change's value is to be read with Get.
	OnChange func(crdt.Change)
}

// inboxFrames bounds what waits for a stopped process.
const inboxFrames = 10_000

// Name returns n1, n2, …
func (p *Peer) Name() string { return p.name }

// Up reports whether the process runs.
func (p *Peer) Up() bool { return p.up }

// live begins a life as actor a, with what image holds.
func (p *Peer) live(a clock.Actor, image []crdt.Saved) {
	c := p.c
	p.lives = append(p.lives, a)
	c.owners[a] = p
	p.post = c.newPost(fmt.Sprint(p.name, ".", p.births))
	p.r = replica.New(p.wall(), replica.Config{
		Name: p.name, Rules: c.rules, Journal: c.cfg.Disk, Conflicts: 16, MaxBytes: c.cfg.Memory,
		Gossip: gossip.Config{
			Self: a, Cluster: "sim", Seed: c.cfg.Seed ^ uint64(p.index)<<8 ^ p.births,
			BatchInterval: c.batch(), QueueBytes: c.cfg.Queue,
		},
		NewActor: func(time.Time) clock.Actor {
			next := c.actor(p)
			p.lives = append(p.lives, next)
			c.owners[next] = p
			return next
		},
	})
	for _, e := range image {
		if err := p.r.Restore(e); err != nil {
			c.judge.violate(p.index, "O6: %s cannot come back from disk: %v", p.name, err)
		}
	}
	p.r.Store().Changes() // what was restored is no news
	p.up, p.ticking, p.inbox, p.txn, p.busy, p.paused = true, -1, nil, nil, false, false
	p.shadow = map[string]string{}
	for key, value := range p.content() {
		p.shadow[key] = value
	}
	p.work = newWorkshop(p)
	p.openLocks()
}

// start begins another life, from disk if there is one.
func (p *Peer) start() {
	if p.up {
		return
	}
	var image []crdt.Saved
	if p.disk != nil {
		image = p.disk.entries()
		if len(image) > 0 {
			p.c.reached("a peer came back from disk")
		}
	}
	p.live(p.c.actor(p), image)
	p.c.net.parted(p)
	p.c.note(Started, p.index, "starts, with %d keys", p.r.Store().Len())
	for i := range p.sees {
		if len(image) == 0 {
			p.sees[i] = sight{}
		}
		p.sees[i].alive = false // the disk remembers who there was
	}
	p.c.changed()
	p.look()
}

// kill ends the process. A transaction on its way to the disk may have arrived.
func (p *Peer) kill() {
	if !p.up {
		return
	}
	if p.txn != nil {
		p.c.reached("a peer was killed while its disk wrote")
		if f := newFate(p.c.cfg.Seed, uint64(p.index), p.births, uint64(p.c.now)); f.chance(0.5) {
			p.disk.commit(p.txn)
		}
	}
	if len(p.inbox) > 0 {
		p.c.reached("a peer was killed with frames unread")
	}
	p.c.fleet.died(p)
	p.up, p.paused, p.stopping, p.inbox, p.txn = false, false, nil, nil, nil
	p.locks.close()
	p.c.note(Killed, p.index, "is killed")
	p.c.judge.remembers(p)
	p.c.judge.forgets()
	p.c.changed()
}

// pause stops the process, as SIGSTOP does.
func (p *Peer) pause() {
	p.paused = true
	p.c.note(Paused, p.index, "stops")
	p.c.changed()
}

// resume lets it go on.
func (p *Peer) resume() {
	if !p.paused {
		return
	}
	p.paused, p.resumed = false, p.c.now
	p.c.note(Resumed, p.index, "goes on")
	p.c.changed()
	if p.up {
		p.unblock()
	}
	if p.locks != nil {
		p.c.locks.resumed(p)
		p.locks.goOn()
	}
	p.work.resume()
}

func (p *Peer) held() bool { return p.paused || p.busy || p.txn != nil }

// Write makes ops on this peer as one unit, at once. The errors are those of
// agent.Put, and one for a process that does not run.
func (p *Peer) Write(ops ...crdt.Op) error { return p.write(false, ops) }

func (p *Peer) write(urgent bool, ops []crdt.Op) error {
	if !p.up || p.paused {
		return fmt.Errorf("%s does not run", p.name)
	}
	err := p.c.judge.write(p, urgent, ops)
	if err == nil && !p.held() {
		p.carry()
	}
	return err
}

// wait asks the others to say when they have all of this peer's writes.
func (p *Peer) wait() {
	if p.up && !p.paused {
		p.r.RequestAcks(p.wall())
		p.schedule()
	}
}

// Get returns what key holds here.
func (p *Peer) Get(key string) (crdt.Entry, bool) { return p.r.Store().Render(key, p.millis()) }

// receive takes a frame from the network.
func (p *Peer) receive(frame []byte) {
	if p.held() {
		if len(p.inbox) < inboxFrames {
			p.inbox = append(p.inbox, frame)
		}
		return
	}
	p.merge(frame)
	p.carry()
	p.rest()
}

// pace sets what the loop takes for a frame from now on.
func (p *Peer) pace(d time.Duration) {
	if p.slow > 0 && d == 0 {
		p.quick = p.c.now
	}
	p.slow = d
}

// rest has a slow loop take its time for the frame it has just taken.
func (p *Peer) rest() {
	if p.slow == 0 {
		return
	}
	p.busy = true
	life := p.r
	p.c.At(p.c.now+p.slow, func() {
		if p.r == life && p.up {
			p.busy = false
			p.unblock()
		}
	})
}

func (p *Peer) merge(frame []byte) {
	if p.c.tracer != nil {
		p.c.trace("%s takes %d B: %s", p.name, len(frame), describe(frame))
	}
	if err := p.r.Receive(p.wall(), frame); err != nil {
		var bad *gossip.FrameError
		if errors.As(err, &bad) && bad.Reason == "critical-section" {
			p.c.reached("a frame of a later version was refused")
		} else {
			p.c.judge.violate(p.index, "O6: %s refused a frame of its own kind: %v", p.name, err)
		}
	}
	p.c.recycle(frame)
}

// unblock does what waited for the loop.
func (p *Peer) unblock() {
	if p.held() {
		return
	}
	if p.slow > 0 && len(p.inbox) > 0 {
		p.c.reached("frames waited for a slow peer")
		frame := p.inbox[0]
		p.inbox = p.inbox[1:]
		p.merge(frame)
		p.carry()
		p.rest()
		return
	}
	inbox := p.inbox
	p.inbox = nil
	for _, frame := range inbox {
		p.merge(frame)
	}
	p.carry()
}

// carry carries out what the replica asks for: first the disk, then subscribers and
// the network, as the agent's loop does.
func (p *Peer) carry() {
	rd := p.r.Ready()
	if rd.Rotated {
		p.c.judge.rotated(p)
		p.c.note(Rotated, p.index, "goes on as %s", p.c.nameOf(p.r.Actor()))
		p.c.net.parted(p)
		p.c.changed()
	}
	if len(rd.Journal) > 0 {
		p.txn = rd.Journal
		life := p.r
		f := newFate(p.c.cfg.Seed, uint64(p.index), uint64(p.c.now), uint64(len(rd.Journal)))
		delay := f.between(100*time.Microsecond, 4*time.Millisecond)
		if f.chance(0.1) {
			delay += f.between(0, 500*time.Millisecond)
		}
		p.c.At(p.c.now+delay, func() {
			if p.r != life || !p.up {
				return
			}
			p.disk.commit(p.txn)
			p.txn = nil
			p.carryOut(rd)
			p.unblock()
		})
		return
	}
	p.carryOut(rd)
}

func (p *Peer) carryOut(rd replica.Ready) {
	p.c.judge.saw(p, rd.Changes)
	if len(rd.Changes) > 0 {
		for _, r := range p.readers {
			r.hear(rd.Changes)
		}
	}
	p.work.told(rd.Changes)
	for _, e := range rd.Envelopes {
		p.sent += uint64(len(e.Frame))
		p.c.net.send(p, e)
	}
	if p.OnChange != nil {
		for _, ch := range rd.Changes {
			p.OnChange(ch)
		}
	}
	if rd.Acked {
		p.work.acked()
	}
	p.schedule()
}

// schedule plans the next tick, unless an earlier one is planned.
func (p *Peer) schedule() {
	at := max(p.when(p.r.Deadline()), p.c.now)
	if p.ticking >= 0 && p.ticking <= at {
		return
	}
	p.ticking = at
	p.c.agenda.plan(event{at: at, to: p, life: p.r})
}

// tick does what was due at a time, unless it was planned anew since.
func (p *Peer) tick(at time.Duration) {
	if p.ticking != at {
		return
	}
	p.ticking = -1
	if p.held() {
		return // unblock comes by
	}
	p.r.Tick(p.wall())
	p.c.judge.ticked(p)
	p.carry()
}

// agree reports whether both have seen and hold the same.
func agree(p, o *Peer) bool {
	a, b := p.r.Store(), o.r.Store()
	return a.Sum() == b.Sum() && a.Context().Equal(b.Context())
}

// keys lists those that fill did not write.
func (p *Peer) keys() (list []string) {
	p.r.Store().Keys(func(key string, _ crdt.Entry, _ bool) bool {
		if !strings.HasPrefix(key, fillPrefix) {
			list = append(list, key)
		}
		return true
	})
	return list
}

// content returns what each key shows.
func (p *Peer) content() map[string]string {
	keys := p.keys()
	all := make(map[string]string, len(keys))
	for _, key := range keys {
		if e, ok := p.Get(key); ok {
			all[key] = shown(e)
		}
	}
	return all
}

// read renders one key as JSON; of a custom key its siblings.
func (p *Peer) read(key string) (string, bool) {
	e, ok := p.Get(key)
	if !ok {
		return "", false
	}
	return p.c.text(e), true
}

// text is an entry as JSON, of a custom one its siblings.
func (c *Cluster) text(e crdt.Entry) string {
	if e.Kind() == crdt.Custom {
		var list []string
		for _, s := range e.Siblings() {
			list = append(list, s.Value.String())
		}
		return strings.Join(list, "|")
	}
	return c.memo.text(e.Value())
}

// filled counts the keys that fill wrote.
func filled(p *Peer) (n int) {
	p.r.Store().Keys(func(key string, _ crdt.Entry, _ bool) bool {
		if strings.HasPrefix(key, fillPrefix) {
			n++
		}
		return true
	})
	return n
}

// show says what keys that match hold at a time, long values in brief.
func (p *Peer) show(match func(string) bool, millis uint64) (list []string) {
	for _, key := range p.keys() {
		if e, ok := p.r.Store().Render(key, millis); ok && (match == nil || match(key)) {
			list = append(list, key+"="+brief(p.c.text(e)))
		}
	}
	slices.Sort(list)
	if n := filled(p); n > 0 {
		list = append(list, fmt.Sprintf("(%d keys of fill)", n))
	}
	if len(list) == 0 {
		return []string{"nothing"}
	}
	return list
}

// briefly is how much of a value is shown, in bytes.
const briefly = 32

func brief(text string) string {
	if len(text) <= briefly {
		return text
	}
	return fmt.Sprintf("%s… (%d B)", strings.ToValidUTF8(text[:briefly/2], ""), len(text))
}

// clone makes q go on as a copy of p: as a machine's snapshot that is started twice,
// with p's disk and its identity.
func (p *Peer) clone(q *Peer) {
	if !p.up || p == q || p.disk == nil {
		return
	}
	c := p.c
	c.judge.cloned = true
	q.live(p.r.Actor(), p.disk.entries())
	q.lives = q.lives[:len(q.lives)-1] // the identity stays its owner's
	q.post = c.newPost(p.post.id)
	c.owners[p.r.Actor()] = p
	c.net.twin, c.net.twins = p.r.Actor(), q
	c.note(Started, q.index, "goes on as a copy of %s", p.name)
	for i := range q.sees {
		q.sees[i] = sight{}
	}
	c.changed()
	q.look()
}

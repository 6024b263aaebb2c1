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

// Peer is one replica with its clocks, its disk and its loop. The loop does one thing at a
// time: frames wait while the disk writes or the process is paused.
type Peer struct {
	clocks
	name   string
	births uint64        // actors made so far
	lives  []clock.Actor // the actors of all lives, the last is the present one

	r        *replica.Replica // of this life; it identifies the life
	up       bool
	disk     *disk  // nil without a disk
	entry    []byte // the entry of the journal that the disk is writing
	paused   bool
	stopping *replica.Replica // the life that stops in order and is about to end
	resumed  time.Duration    // the time of the last resume
	slow     time.Duration    // how long the loop takes for a frame
	quick    time.Duration    // the time when slow last became 0 again
	busy     bool             // the slow loop has a frame in hand
	inbox    [][]byte         // frames that wait for the loop
	ticking  time.Duration    // the time of the next tick; -1: none is planned
	sent     uint64           // bytes of all frames sent
	post     *post

	sees     []sight            // what this peer believes of each peer, by index
	ignorant bool               // this life has never heard of some peer
	suspects map[int]bool       // the peers that this one falsely takes for dead, by index
	work     *workshop          // of this life
	locks    *locker            // of this life; nil without voters
	voters   lockservice.Voters // as this peer is configured
	boots    uint64             // lives of its lock machine
	readers  []*reader
	shadow   map[string]string // what all changes so far add up to, by key, as shown renders it

	// OnChange, if set, is called with each change of a key, as a subscriber would be. It
	// may write. The value of a lazy change must be read with Get.
	OnChange func(crdt.Change)
}

// inboxFrames bounds the frames that wait for a peer's loop. Further frames are lost.
const inboxFrames = 10_000

// Name returns n1, n2, …
func (p *Peer) Name() string { return p.name }

// Up reports whether the process runs.
func (p *Peer) Up() bool { return p.up }

// live begins a life as actor a, with what its disk has.
func (p *Peer) live(a clock.Actor) {
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
	if p.disk != nil {
		p.disk.stop()
		if err := p.r.Restore(p.disk.entries()); err != nil {
			c.judge.violate(p.index, "O6: %s cannot come back from disk: %v", p.name, err)
		}
	}
	p.up, p.ticking, p.inbox, p.entry, p.busy, p.paused = true, -1, nil, nil, false, false
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
	remembers := p.disk != nil && !p.disk.empty()
	if remembers {
		p.c.reached("a peer came back from disk")
	}
	p.live(p.c.actor(p))
	p.c.net.parted(p)
	p.c.note(Started, p.index, "starts, with %d keys", p.r.Store().Len())
	for i := range p.sees {
		if !remembers {
			p.sees[i] = sight{}
		}
		p.sees[i].alive = false // the lives are known from the disk, and none is taken for up
	}
	p.c.changed()
	p.setView()
}

// kill ends the process at once. An entry that the disk is writing becomes durable
// with probability one half.
func (p *Peer) kill() {
	if !p.up {
		return
	}
	if p.entry != nil {
		p.c.reached("a peer was killed while its disk wrote")
		if f := newFate(p.c.cfg.Seed, uint64(p.index), p.births, uint64(p.c.now)); f.chance(0.5) {
			p.disk.commit(p.entry)
		}
	}
	if len(p.inbox) > 0 {
		p.c.reached("a peer was killed with frames unread")
	}
	p.c.fleet.died(p)
	p.up, p.paused, p.stopping, p.inbox, p.entry = false, false, nil, nil, nil
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

// resume lets the process go on, as SIGCONT does.
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

// held reports whether the loop can do nothing now.
func (p *Peer) held() bool { return p.paused || p.busy || p.entry != nil }

// Write applies ops on this peer now, as one batch. It fails as the agent's writes do:
// for invalid operations, a failed condition, a clock too far ahead, or a full store. It
// also fails if the process is down or paused.
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

// wait asks the other peers to acknowledge this peer's writes.
func (p *Peer) wait() {
	if p.up && !p.paused {
		p.r.RequestAcks(p.wall())
		p.schedule()
	}
}

// Get returns the entry of key on this peer, and whether there is one.
func (p *Peer) Get(key string) (crdt.Entry, bool) { return p.r.Store().Render(key, p.millis()) }

// receive takes a frame from the network, or queues it while the loop is held.
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

// pace sets how long the loop takes for each frame from now on.
func (p *Peer) pace(d time.Duration) {
	if p.slow > 0 && d == 0 {
		p.quick = p.c.now
	}
	p.slow = d
}

// rest makes a slow loop busy for the frame that it has just merged.
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

// merge gives a frame to the replica and recycles its buffer.
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

// unblock goes on with the frames that waited for the loop. A slow loop takes one of them.
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

// carry carries out the effects of the replica, in the order of the agent's loop: the disk
// first, then subscribers and the network. Nothing leaves the peer before its transaction
// is durable.
func (p *Peer) carry() {
	rd := p.r.Ready()
	if rd.Rotated {
		p.c.judge.rotated(p)
		p.c.note(Rotated, p.index, "goes on as %s", p.c.nameOf(p.r.Actor()))
		p.c.net.parted(p)
		p.c.changed()
	}
	if len(rd.Journal) > 0 {
		p.entry = rd.Journal
		p.disk.start(p.r)
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
			p.disk.commit(p.entry)
			if p.disk.proceed() {
				p.c.reached("an image was made beside the journal")
			}
			p.entry = nil
			p.carryOut(rd)
			p.unblock()
		})
		return
	}
	p.carryOut(rd)
}

// carryOut carries out the effects that follow the disk.
func (p *Peer) carryOut(rd replica.Ready) {
	p.c.judge.checkChanges(p, rd.Changes)
	if len(rd.Changes) > 0 {
		for _, r := range p.readers {
			r.hear(rd.Changes)
		}
	}
	p.work.takeChanges(rd.Changes)
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

// schedule plans the next tick, unless one is planned for that time or an earlier one.
func (p *Peer) schedule() {
	at := max(p.when(p.r.Deadline()), p.c.now)
	if p.ticking >= 0 && p.ticking <= at {
		return
	}
	p.ticking = at
	p.c.agenda.plan(event{at: at, to: p, life: p.r})
}

// tick gives the time to the replica. A tick that an earlier one has replaced does nothing.
func (p *Peer) tick(at time.Duration) {
	if p.ticking != at {
		return
	}
	p.ticking = -1
	if p.held() {
		return // unblock calls carry, which plans the next tick
	}
	p.r.Tick(p.wall())
	p.c.judge.ticked(p)
	p.carry()
}

// agree reports whether two peers have equal contexts and equal checksums.
func agree(p, o *Peer) bool {
	a, b := p.r.Store(), o.r.Store()
	return a.Sum() == b.Sum() && a.Context().Equal(b.Context())
}

// keys returns the peer's keys, without those that fill wrote.
func (p *Peer) keys() (list []string) {
	p.r.Store().Ascend(crdt.KeyRange{}, func(key string, _ crdt.Entry, _ bool) bool {
		if !strings.HasPrefix(key, fillPrefix) {
			list = append(list, key)
		}
		return true
	})
	return list
}

// content returns the text of each key's entry, as shown renders it.
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

// read returns the entry of key as text renders it, and whether there is one.
func (p *Peer) read(key string) (string, bool) {
	e, ok := p.Get(key)
	if !ok {
		return "", false
	}
	return p.c.text(e), true
}

// text returns an entry as JSON. The siblings of a custom entry are joined with "|".
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
	p.r.Store().Ascend(crdt.KeyRange{}, func(key string, _ crdt.Entry, _ bool) bool {
		if strings.HasPrefix(key, fillPrefix) {
			n++
		}
		return true
	})
	return n
}

// show returns "key=value" for the keys that match, sorted, with long values shortened.
// Entries that have expired at millis are left out.
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

// briefly is the greatest length of a value that is shown whole, in bytes.
const briefly = 32

// brief shortens a long value to its beginning and its length.
func brief(text string) string {
	if len(text) <= briefly {
		return text
	}
	return fmt.Sprintf("%s… (%d B)", strings.ToValidUTF8(text[:briefly/2], ""), len(text))
}

// clone makes q go on as a copy of p, with p's data and p's actor: the snapshot of a
// machine that is started twice. q keeps what it knows as a voter.
func (p *Peer) clone(q *Peer) {
	if !p.up || p == q || p.disk == nil {
		return
	}
	c := p.c
	c.judge.cloned = true
	q.disk.image, q.disk.log = slices.Clone(p.disk.image), slices.Clone(p.disk.log)
	q.live(p.r.Actor())
	q.lives = q.lives[:len(q.lives)-1] // the actor stays in the lives of p
	q.post = c.newPost(p.post.id)
	c.owners[p.r.Actor()] = p
	c.net.twin, c.net.twins = p.r.Actor(), q
	c.note(Started, q.index, "goes on as a copy of %s", p.name)
	for i := range q.sees {
		q.sees[i] = sight{}
	}
	c.changed()
	q.setView()
}

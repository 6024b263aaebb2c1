package sim

import (
	"bytes"
	"crypto/cipher"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/envelope"
)

// recorder is an attacker that sees every packet of a cluster with a key, and does not have
// the key. It can send a packet again, to any peer, and cannot make a new one.
type recorder struct {
	tape []byte       // all packets, one after the other
	sent [][]recorded // by the peer that sent them
}

// recorded is one packet.
type recorded struct {
	from, to   *Peer
	sender     string // the life that sent it
	receiver   string // the life that it is for
	first, end int    // its bytes are tape[first:end]
}

// post seals the packets of one life of a peer and opens those for it. Without a key it
// has only the id.
type post struct {
	id string // of the life
	*envelope.Sealer
	*envelope.Opener
}

// newPost returns the post of a life.
func (c *Cluster) newPost(id string) *post {
	if !c.cfg.Key {
		return &post{id: id}
	}
	return &post{id, envelope.NewSealer(id, clusterKey), envelope.NewOpener(id, []envelope.Key{clusterKey})}
}

// clusterKey stands for a key. Its seal is the names of both lives in clear, which no peer
// of a run forges, and so costs no time for cryptography.
var clusterKey = envelope.Key{Pair: func(lives [2 * envelope.MarkBytes]byte) (cipher.AEAD, error) { return badge(lives), nil }}

// badge is the seal of two lives.
type badge [2 * envelope.MarkBytes]byte

func (badge) NonceSize() int { return 12 }
func (badge) Overhead() int  { return len(badge{}) }

func (b badge) Seal(dst, _, plain, _ []byte) []byte { return append(append(dst, plain...), b[:]...) }

func (b badge) Open(dst, _, sealed, _ []byte) ([]byte, error) {
	plain, ok := bytes.CutSuffix(sealed, b[:])
	if !ok {
		return nil, errBadge
	}
	return append(dst, plain...), nil
}

var errBadge = errors.New("sealed for or by another life")

// Kinds of messages in packets.
const (
	wordOfLife byte = iota // memberlist's: the life that has this id is up
	frameInside
)

// seal returns the packet of a message from p to q, and records it. The packet lies on the
// tape: it is valid until the next call.
func (c *Cluster) seal(p, q *Peer, kind byte, message []byte) []byte {
	t := &c.recorder
	blank, err := p.post.Next(q.post.id)
	if err != nil {
		c.judge.violate(p.index, "O6: %s cannot seal: %v", p.name, err)
		return nil
	}
	first := len(t.tape)
	t.tape = blank.Seal(t.tape, kind, message)
	t.sent[p.index] = append(t.sent[p.index], recorded{p, q, p.post.id, q.post.id, first, len(t.tape)})
	return t.tape[first:]
}

// open opens a packet by the rule of the transport, and handles its message. It reports
// whether the rule took the packet.
func (p *Peer) open(packet []byte) (taken bool) {
	buffer := p.c.buffer()
	l, v := p.post.Open(buffer, packet)
	switch {
	case v != envelope.Taken:
		p.c.recycle(buffer)
		return false
	case l.Kind == frameInside:
		p.receive(l.Body)
	case l.Kind == wordOfLife:
		p.c.judge.reportedUp(p, string(l.Body))
		p.c.recycle(l.Body)
	}
	return true
}

// hearsOf delivers a packet of memberlist to p which says that the life of q is up.
func (p *Peer) hearsOf(q *Peer) {
	if p.c.cfg.Key {
		p.open(p.c.seal(q, p, wordOfLife, []byte(q.post.id)))
	}
}

// rotated checks that p takes a new actor only after a clone (O16).
func (j *judge) rotated(p *Peer) {
	if !j.cloned {
		j.violate(p.index, "O16: %s takes itself for a copy, and nobody copied it", p.name)
	}
	j.c.reached("a clone was noticed")
}

// reportedUp checks that p takes no message which says that a life is up when it has ended (O16).
func (j *judge) reportedUp(p *Peer, id string) {
	for _, q := range j.c.peers {
		if q.up && q.post.id == id {
			return
		}
	}
	if j.cloned { // a copy has the id of its original, and takes the packets for that once more
		return
	}
	j.violate(p.index, "O16: %s is told that %s is up, a life that has ended", p.name, id)
}

// The rare states of a replay. The receiver must refuse the packet in each of them.
const (
	againSame = "a packet was shown again"
	againNext = "a packet was shown to the next life of its receiver"
	againPast = "a packet of a life that ended was shown again"
	reflected = "a packet was reflected to its sender"
	another   = "a packet was shown to another peer"
)

// shownTo returns the rare state of a replay of r to q.
func (r recorded) shownTo(q *Peer) string {
	switch {
	case r.from == q:
		return reflected
	case r.to != q:
		return another
	case r.receiver != q.post.id:
		return againNext
	case r.sender != r.from.post.id:
		return againPast
	}
	return againSame
}

// replay sends q all packets that p has sent to any peer, oldest or latest first. It returns
// the number of packets, and how many of them q took.
func (c *Cluster) replay(p, q *Peer) (shown, taken int) {
	t := &c.recorder
	list := slices.Clone(t.sent[p.index])
	if f := newFate(c.cfg.Seed, uint64(p.index)<<32|uint64(q.index), uint64(c.now)); f.chance(0.5) {
		slices.Reverse(list)
	}
	for _, r := range list {
		if !q.up {
			break
		}
		shown++
		how := r.shownTo(q)
		if q.open(t.tape[r.first:r.end]) {
			taken++ // the packet had not arrived before
		} else {
			c.reached(how)
		}
	}
	return shown, taken
}

// replayed parses the sides of a replay: "1,2 > 3".
func (c steps) replayed(text string) (func(), error) {
	each, oneWay, err := c.sidesArg(text)
	switch {
	case err != nil || !oneWay:
		return nil, fmt.Errorf("sides are wanted, like 1,2 > 3")
	case !c.cfg.Key:
		return nil, fmt.Errorf("without a key nothing stops a replay: the line \"key\" is wanted")
	}
	return func() {
		shown, taken := 0, 0
		each(func(from, to *Peer) {
			s, t := c.replay(from, to)
			shown, taken = shown+s, taken+t
		})
		c.note(Replayed, 0, "%d packets are shown again, and %d taken: %s", shown, taken, text)
	}, nil
}

// In one seed of recorderOneIn the peers have a key, and an attacker records. The draws come
// from a stream of their own.
const (
	recorderOneIn  = 8
	recorderStream = 0x7f16
)

// drawRecorder adds a key and replays to a script.
func drawRecorder(d drawer) Script {
	d.rng = rand.New(rand.NewPCG(d.script.Config.Seed, recorderStream))
	d.peers = d.script.Config.Peers
	if !d.may("recorder") || !d.one(recorderOneIn) {
		return d.script
	}
	d.script.Config.Key = true
	for range 1 + d.rng.IntN(4) {
		d.replays(d.up(d.script.Ends))
	}
	for _, s := range d.script.Steps {
		var p int
		if n, _ := fmt.Sscanf(s.Do, "start %d", &p); n == 1 && d.one(2) { // packets of and to a life that has just begun
			d.replays(s.At + d.up(3*time.Second))
		}
	}
	if d.one(2) { // replayed heartbeats of a worker that has stopped
		at, p := d.up(d.script.Ends), d.peer()
		d.step(at, "%d beat prey %v", p, 2*beatInterval)
		for range 8 {
			at += d.up(beatInterval)
			d.replays(at)
		}
	}
	d.trim()
	return d.script
}

// replays adds a replay, most often of all packets to all peers.
func (d *drawer) replays(at time.Duration) {
	all := fmt.Sprint("1-", d.peers)
	from, to := all, all
	if d.one(4) {
		from, to = fmt.Sprint(d.peer()), fmt.Sprint(d.peer())
	}
	d.step(at, "replay %s > %s", from, to)
}

package sim

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// judge watches a run and holds it against the oracles.
type judge struct {
	w          *world
	violations []string
	dots       map[clock.Dot]string // who minted each, and where
	acked      []acked
	blind      map[clock.Dot]bool // written by a replica that had heard nobody yet
	queue      int                // bytes that may wait on one replica
}

// acked is a register write that returned.
type acked struct {
	key   string
	stamp clock.Timestamp
	life  clock.Actor
	gone  bool // a delete of what was there
	safe  bool // its replica lives on
}

const maxViolations = 20

func (j *judge) init(w *world) {
	j.w = w
	j.queue = 8 * (64<<10 + 1<<13) // of up to eight peers, one write beyond each bound
	j.dots = map[clock.Dot]string{}
	j.blind = map[clock.Dot]bool{}
}

func (j *judge) violate(format string, args ...any) {
	if len(j.violations) < maxViolations {
		j.violations = append(j.violations, fmt.Sprintf(format, args...))
	}
}

// write makes op on p and remembers what was promised.
func (j *judge) write(p *peer, op crdt.Op) {
	_, had := p.Store().Render(op.Key, uint64(p.wall(j.w.now).UnixMilli()))
	before := p.Store().Last()
	written, err := p.Write(p.wall(j.w.now), false, op)
	if err != nil {
		return // a type error, or a clock too far ahead: refused, not acknowledged
	}
	for seq := before + 1; seq <= written.Last; seq++ {
		d := clock.Dot{Actor: p.Actor(), Seq: seq}
		if who, twice := j.dots[d]; twice {
			j.violate("O4: dot %v was used by %s and %s", d, who, p.name)
		}
		j.dots[d] = p.name
		j.blind[d] = !p.Engine().Synced()
	}
	once := strings.HasPrefix(op.Key, "once/") || strings.HasPrefix(op.Key, "reg/")
	if deletes := op.Verb == crdt.Delete; once && (!deletes || had) {
		j.acked = append(j.acked, acked{op.Key, written.Stamp, p.Actor(), deletes, true})
	}
}

// died notes that what only p had is gone.
func (j *judge) died(p *peer) {
	for i := range j.acked {
		if j.acked[i].life == p.Actor() {
			j.acked[i].safe = false
		}
	}
}

// changed watches the queues while things go on.
func (j *judge) changed(p *peer) {
	if q := p.Engine().Stats().QueuedBytes; q > j.queue {
		j.violate("O5: %d bytes wait on %s", q, p.name)
	}
}

// converged reports whether all replicas hold the same.
func (j *judge) converged() bool {
	first := j.w.peers[0]
	for _, p := range j.w.peers[1:] {
		if !p.Store().Context().Equal(first.Store().Context()) || p.Store().Sum() != first.Store().Sum() {
			return false
		}
	}
	return true
}

// final is the judgement.
func (j *judge) final() {
	first := j.w.peers[0]
	state := first.Store().AppendState(nil)
	for _, p := range j.w.peers[1:] {
		switch {
		case !p.Store().Context().Equal(first.Store().Context()):
			j.violate("O1: %s and %s have not seen the same after %v", first.name, p.name, Settle)
		case p.Store().Sum() != first.Store().Sum() || !bytes.Equal(p.Store().AppendState(nil), state):
			j.violate("O1: %s and %s have seen the same and hold different states", first.name, p.name)
		}
	}
	now := uint64(j.w.now.UnixMilli())
	for _, a := range j.acked {
		if !a.safe {
			continue
		}
		e, ok := first.Store().Render(a.key, now)
		switch {
		case ok && j.blind[e.Dot()]: // its writer had no way to know better
		case ok && a.gone && strings.HasPrefix(a.key, "once/"):
			j.violate("O3: %s was deleted and is back as of %v", a.key, e.Stamp())
		case ok && e.Stamp() < a.stamp:
			j.violate("O2: %s is as of %v, a write of %v is gone", a.key, e.Stamp(), a.stamp)
		case !ok && !j.removedLater(a):
			j.violate("O2: %s, written at %v, is gone and nobody deleted it", a.key, a.stamp)
		}
	}
}

// removedLater reports whether a delete of the key at or after a was acknowledged,
// by anyone.
func (j *judge) removedLater(a acked) bool {
	return slices.ContainsFunc(j.acked, func(b acked) bool { return b.key == a.key && b.gone && b.stamp >= a.stamp })
}

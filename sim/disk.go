package sim

import (
	"iter"
	"slices"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/replica"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// disk is the durable state of a peer: an image, and the entries of the journal since it began.
// It can lose its latest entries, and any other entry can become unreadable.
type disk struct {
	image [][]byte
	log   [][]byte // nil stands for an entry that cannot be read

	making *replica.Image // the image that is being made, nil for none
	parts  [][]byte       // its entries so far
	since  int            // number of the log's entries when it began

	tokens lockservice.State // the voter's bound of tokens, which has a file of its own
}

const (
	loggedEntries = 24 // entries of the log after which an image is made
	imageRecords  = 8  // records of the image that are written with one entry of the log
)

// start begins an image of r, whose Ready has just been taken, if it is time for one. An
// unreadable entry makes it time: no context after it would be believed at the next start.
// entry is the Ready's, which will be in the log before any part of the image.
func (d *disk) start(r *replica.Replica) {
	if d.making == nil && (len(d.log) >= loggedEntries || d.damaged()) {
		d.making, d.parts, d.since = replica.NewImage(r), nil, len(d.log)+1
	}
}

// damaged reports whether the log has an entry that cannot be read.
func (d *disk) damaged() bool {
	return slices.ContainsFunc(d.log, func(e []byte) bool { return e == nil })
}

// commit makes an entry durable.
func (d *disk) commit(entry []byte) { d.log = append(d.log, entry) }

// proceed writes the next part of the image that is being made. It reports whether the image is
// whole now, which then takes the place of the one before and of the log until it began.
func (d *disk) proceed() (whole bool) {
	if d.making == nil {
		return false
	}
	if part := d.making.Next(imageRecords); part != nil {
		d.parts = append(d.parts, part)
		return false
	}
	d.image, d.log, d.making, d.parts = d.parts, slices.Clone(d.log[d.since:]), nil, nil
	return true
}

// stop ends the process, and with it the image that was being made.
func (d *disk) stop() { d.making, d.parts = nil, nil }

// empty reports whether nothing was ever made durable.
func (d *disk) empty() bool { return len(d.image) == 0 && len(d.log) == 0 }

// entries returns what can be read, and with each entry whether one before it is missing.
func (d *disk) entries() iter.Seq2[[]byte, bool] {
	return func(yield func([]byte, bool) bool) {
		missing := false
		for _, list := range [][][]byte{d.image, d.log} {
			for _, e := range list {
				if e == nil {
					missing = true
				} else if !yield(e, missing) {
					return
				}
			}
		}
	}
}

// context returns the causal context of a peer that is restored from the disk.
func (d *disk) context() *clock.CausalContext {
	r := replica.New(epoch, replica.Config{})
	_ = r.Restore(d.entries()) // a start from this disk reports the error as a violation (O6)
	return r.Store().Context()
}

// spoil makes the disk of a dead process lose something: with tear the last n entries of its log,
// with rot the n-th entry from the end, with wipe everything.
func (p *Peer) spoil(how string, n int) {
	d := p.disk
	if p.up || d == nil || how == "tear" && len(d.log) == 0 || how == "rot" && len(d.log) < n {
		return
	}
	state, note := "a disk was lost", "its disk is lost"
	switch how {
	case "tear":
		state, note = "a disk lost its last entries", "its disk has lost its last entries"
		d.log = d.log[:max(len(d.log)-n, 0)]
		p.c.judge.tears++
	case "rot":
		state, note = "an entry of a disk could not be read", "its disk has an entry that cannot be read"
		d.log[len(d.log)-n] = nil
		p.c.judge.rots++
	default:
		*d = disk{}
	}
	p.c.judge.torn = p.c.judge.torn || how != "wipe"
	p.c.reached(state)
	p.c.note(Torn, p.index, "%s", note)
	p.c.judge.forgets()
}

package sim

import (
	"maps"
	"slices"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// disk is what a peer's journal has made durable, and how to undo the latest
// transactions: what a lying disk loses.
type disk struct {
	image map[string][]byte
	undo  []map[string][]byte // of the latest transactions, oldest first

	tokens lockservice.State // in a file of its own
}

const undoable = 4

func newDisk() *disk { return &disk{image: map[string][]byte{}} }

// commit makes a transaction durable.
func (d *disk) commit(txn []crdt.Saved) {
	before := make(map[string][]byte, len(txn))
	for _, e := range txn {
		key := string(e.Key)
		if _, done := before[key]; !done {
			before[key] = d.image[key]
		}
		d.put(key, e.Value)
	}
	if len(d.undo) == undoable {
		d.undo = slices.Delete(d.undo, 0, 1)
	}
	d.undo = append(d.undo, before)
}

func (d *disk) put(key string, value []byte) {
	if value == nil {
		delete(d.image, key)
	} else {
		d.image[key] = value
	}
}

// tear loses the last n transactions.
func (d *disk) tear(n int) {
	for range min(n, len(d.undo)) {
		last := d.undo[len(d.undo)-1]
		d.undo = d.undo[:len(d.undo)-1]
		for key, value := range last { // each key once: no order
			d.put(key, value)
		}
	}
}

// entries returns the image in the order of its keys.
func (d *disk) entries() []crdt.Saved {
	list := make([]crdt.Saved, 0, len(d.image))
	for _, key := range slices.Sorted(maps.Keys(d.image)) {
		list = append(list, crdt.Saved{Key: []byte(key), Value: d.image[key]})
	}
	return list
}

// context returns what the image says was seen.
func (d *disk) context() *clock.CausalContext {
	s := crdt.New(crdt.Config{Actor: clock.Actor{Rand: 1}})
	for _, e := range d.entries() {
		if s.Restore(e) != nil {
			break // coming back from it is a violation of its own
		}
	}
	return s.Context()
}

// tear makes a disk that lied lose its last n transactions, while the process is down.
func (p *Peer) tear(n int) {
	if p.up || p.disk == nil || len(p.disk.undo) == 0 {
		return
	}
	p.disk.tear(n)
	p.c.judge.torn = true
	p.c.reached("a disk lost its last transactions")
	p.c.note(Torn, p.index, "its disk has lost its last transactions")
	p.c.judge.forgets()
}

// wipe makes a disk lose all, while the process is down.
func (p *Peer) wipe() {
	if p.up || p.disk == nil {
		return
	}
	p.disk = newDisk()
	p.c.reached("a disk was lost")
	p.c.note(Torn, p.index, "its disk is lost")
	p.c.judge.forgets()
}

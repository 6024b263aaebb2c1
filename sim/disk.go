package sim

import (
	"maps"
	"slices"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// disk is the durable state of a peer. It can undo the latest transactions, which is how a
// lying disk loses them.
type disk struct {
	image map[string][]byte   // the journal: entries of the store by key
	undo  []map[string][]byte // the values before each of the latest transactions, oldest first

	tokens lockservice.State // the voter's bound of tokens, which has a file of its own
}

// undoable is how many transactions a disk can undo.
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

// put sets an entry of the image. A nil value deletes it.
func (d *disk) put(key string, value []byte) {
	if value == nil {
		delete(d.image, key)
	} else {
		d.image[key] = value
	}
}

// tear undoes the last n transactions, at most undoable.
func (d *disk) tear(n int) {
	for range min(n, len(d.undo)) {
		last := d.undo[len(d.undo)-1]
		d.undo = d.undo[:len(d.undo)-1]
		for key, value := range last { // the order does not matter: the keys differ
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

// context returns the causal context of the image.
func (d *disk) context() *clock.CausalContext {
	s := crdt.New(crdt.Config{Actor: clock.Actor{Rand: 1}})
	for _, e := range d.entries() {
		if s.Restore(e) != nil {
			break // a start from this image reports a violation (O6)
		}
	}
	return s.Context()
}

// tear makes the peer's disk lose its last n transactions. It does nothing while the
// process runs.
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

// wipe makes the peer's disk lose everything. It does nothing while the process runs.
func (p *Peer) wipe() {
	if p.up || p.disk == nil {
		return
	}
	p.disk = newDisk()
	p.c.reached("a disk was lost")
	p.c.note(Torn, p.index, "its disk is lost")
	p.c.judge.forgets()
}

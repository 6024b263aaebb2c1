package crdt

import (
	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// Rival names a dot that came with a second content. No honest writer makes one: a
// peer lies, two run from one copy, or the memory of one is broken. Of two contents the one with the greater
// share of the checksums stays, on every peer, whichever came first. What the other had
// overwritten does not come back: where it is still, the comparison of checksums takes
// it away. Contents that no checksum covers differ unnoticed: a record that expires, until
// it does.
type Rival struct {
	Dot clock.Dot
	Key string // of the content that was here
}

// Rivals returns how many second contents came or were told of, and the last.
func (s *Store) Rivals() (n uint64, last Rival) { return s.stats.Rivals, s.rival }

// Contest counts a second content of d's dot, which has that share of the checksums,
// and reports whether the one that is here stays.
func (s *Store) Contest(d Delta, share uint64) bool {
	s.stats.Rivals++
	s.rival = Rival{d.Dot(), d.Key()}
	return share <= s.share(d.r)
}

// decide holds two contents of one dot against each other, one that is here and one
// that came, and reports whether that took its place.
func (s merger) decide(here, came *record) bool {
	if s.Contest(s.delta(here), s.share(came)) {
		return false
	}
	s.drop(here)
	came.cell = s.cellOf(came.cell.key())
	s.merge(came, false)
	return true
}

// says reports whether r is what was just read of its dot, up to its past. The options
// are read from a copy of the reader.
func (r *record) says(head uint64, stamp clock.Timestamp, key, body []byte, options wire.Reader) bool {
	var path []byte
	var expiry uint64
	if head&flagPath != 0 {
		path = options.Bin()
	}
	if head&flagPast != 0 {
		options.Skip()
	}
	if head&flagExpiry != 0 {
		expiry = options.Uint()
	}
	kind := uint64(r.kind) << flagBits
	if r.tomb {
		kind |= flagTomb
	}
	return head&^(flagPath|flagPast|flagExpiry) == kind && stamp == r.stamp && expiry == r.expiry() &&
		string(key) == r.cell.key() && string(body) == r.val() && string(path) == r.path()
}

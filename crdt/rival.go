package crdt

import (
	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// Rival names a dot that came with a second content. A correct writer gives a dot to one
// content only. There is a rival if a peer lies, if two peers run from one copy of a state,
// or if the memory of a peer is broken. Every peer keeps the content that adds the greater
// number to the checksums, whichever content came first. Records that the losing content
// had overwritten do not come back; a peer that still holds them drops them after the next
// comparison of checksums. A difference in records that the checksums do not cover stays
// unnoticed: two contents that expire may differ until they have expired.
type Rival struct {
	Dot clock.Dot
	Key string // key of the content that this replica had
}

// Rivals returns the number of second contents so far, and the latest.
func (s *Store) Rivals() (n uint64, last Rival) { return s.stats.Rivals, s.lastRival }

// Contest counts a second content of d's dot, which adds share to the checksums. It reports
// whether the content that this replica has stays.
func (s *Store) Contest(d Delta, share uint64) bool {
	s.stats.Rivals++
	s.lastRival = Rival{d.Dot(), d.Key()}
	return share <= s.share(d.r)
}

// decideRival compares two contents of one dot: here is live in this store, and came is not.
// It keeps one of them, and reports whether came replaced here.
func (s merger) decideRival(here, came *record) bool {
	if s.Contest(s.delta(here), s.share(came)) {
		return false
	}
	s.dropRecord(here)
	came.cell = s.cellOf(came.cell.key())
	s.merge(came, false)
	return true
}

// sameContent reports whether r has the content that was just read from a section. It does
// not compare pasts, which each peer forgets at another time. options is a copy of the
// reader, at the optional parts of the record.
func (r *record) sameContent(head uint64, stamp clock.Timestamp, key, body []byte, options wire.Reader) bool {
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

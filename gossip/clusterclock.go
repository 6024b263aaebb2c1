package gossip

import (
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// ClusterClock estimates the time of the cluster: from the wall clocks in the digests of other
// peers it computes a median offset to this peer's clock. It also keeps the latest timestamp
// that any peer has given.
type ClusterClock struct {
	*shared
	reports  []report        // one for each of Members.peers, in the same order
	clocks   []time.Duration // memory that setOffset reuses
	offset   time.Duration   // see Offset
	offsetAt time.Time       // when offset was computed
	maxStamp clock.Timestamp // see MaxStamp
}

// report is what a peer's digests said about the peer. setOffset reads all reports every second, so
// they are kept in one slice and not in peer.
type report struct {
	heard, alive bool          // a digest has come; the peer is up
	offset       time.Duration // the peer's clock minus this peer's
	rules        uint64        // fingerprint of the peer's merge rules
}

// maxRoundTrip is the longest time from a digest to its answer for which the answer's clock counts.
const maxRoundTrip = 2 * time.Second

const (
	offsetEvery = time.Second // least pause between two computations of the offset
	fewPeers    = 32          // up to so many living peers, the first digest of a peer counts at once
)

// observe takes the latest timestamp of another peer. Later writes of this peer then get later
// timestamps than all writes there, those whose removals were forgotten included.
func (c *ClusterClock) observe(now time.Time, stamp clock.Timestamp) {
	if stamp <= c.Limit(now) {
		c.maxStamp = max(c.maxStamp, stamp)
	}
}

// Limit returns the latest timestamp that is merged now: the time of the cluster plus
// Config.MaxSkew. Other peers with correct clocks merge no later one either, so the owner must
// not make a write with one.
func (c *ClusterClock) Limit(now time.Time) clock.Timestamp {
	return clock.TimestampAt(now.Add(c.offset + c.cfg.MaxSkew))
}

// Offset returns the time of the cluster minus this peer's clock: the lower median over the clocks
// of the living peers and its own. If two clocks disagree, the one that is ahead is taken to
// be wrong.
func (c *ClusterClock) Offset() time.Duration { return c.offset }

// Skewed reports whether this peer's clock differs from the cluster's time by more than
// Config.MaxSkew.
func (c *ClusterClock) Skewed() bool { return c.offset.Abs() > c.cfg.MaxSkew }

// compareClocks takes a sample of a peer's clock, wall in Unix milliseconds. A digest that was long
// on its way makes the clock look slow. So only the answer to a digest, which echoes when that
// was sent, may lower the offset (Cristian 1989). echo is 0 for a digest that is no answer.
func (r *report) compareClocks(now time.Time, wall, echo uint64) {
	sample := time.UnixMilli(int64(min(wall, 1<<48))).Sub(now)
	trip := now.Sub(time.UnixMilli(int64(min(echo, 1<<48))))
	switch {
	case echo != 0 && trip >= 0 && trip <= maxRoundTrip:
		r.offset = sample + trip/2
	case !r.heard || sample > r.offset:
		r.offset = sample
	}
}

// setOffset computes the offset anew.
func (c *ClusterClock) setOffset(now time.Time) {
	c.offsetAt = now
	c.clocks = append(c.clocks[:0], 0) // this peer's own clock
	for _, r := range c.reports {
		if r.heard && r.alive {
			c.clocks = append(c.clocks, r.offset)
		}
	}
	middle := (len(c.clocks) - 1) / 2
	nth(c.clocks, middle, func(a, b time.Duration) bool { return a < b })
	c.offset = c.clocks[middle]
}

// setReports brings the reports into the order of Members.peers after a change of the view.
func (c *ClusterClock) setReports() {
	old := c.reports
	c.reports = make([]report, len(c.peers))
	for i, p := range c.peers {
		if p.reportIndex >= 0 {
			c.reports[i] = old[p.reportIndex]
		}
		p.reportIndex = i
		c.reports[i].alive = p.Alive
	}
}

// Odd calls f for each living peer whose clock differs from the cluster's time by more than
// Config.MaxSkew, or whose merge rules differ from this peer's.
func (c *ClusterClock) Odd(f func(name string, clockSkewed, rulesDiffer bool)) {
	for i, r := range c.reports {
		if skewed, differ := c.skewed(r), c.differs(r); r.alive && (skewed || differ) {
			f(c.peers[i].Name, skewed, differ)
		}
	}
}

// skewed reports whether the clock of a peer is too far from the cluster's time.
func (c *ClusterClock) skewed(r report) bool {
	return r.heard && (r.offset-c.offset).Abs() > c.cfg.MaxSkew
}

// differs reports whether a peer merges by other rules than this one.
func (c *ClusterClock) differs(r report) bool { return r.heard && r.rules != c.cfg.Rules }

// MaxStamp returns the latest timestamp that was written or merged here, or that a digest or a
// sync-reply of another peer named and that was not beyond Limit.
func (c *ClusterClock) MaxStamp() clock.Timestamp { return c.maxStamp }

// Restored raises MaxStamp to the latest timestamp in a store that was restored from disk.
func (c *ClusterClock) Restored(stamp clock.Timestamp) { c.maxStamp = max(c.maxStamp, stamp) }

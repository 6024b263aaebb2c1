package gossip

import (
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// ClusterClock is the time as the cluster has it: what the digests of the others tell of
// their clocks, and the latest stamp that anybody has given.
type ClusterClock struct {
	*shared
	reports  []report        // of peers, in their order
	clocks   []time.Duration // see setOffset
	offset   time.Duration   // see Offset
	offsetAt time.Time       // when it was taken
	maxStamp clock.Timestamp // the latest written or merged here, or said to exist
}

// report is what a peer's digests told of it. All are looked through every second:
// they lie side by side.
type report struct {
	heard, alive bool
	offset       time.Duration // of its clock to this peer's
	rules        uint64
}

// maxRoundTrip is how long a digest and its answer may take together to tell the time.
const maxRoundTrip = 2 * time.Second

// offsetEvery is how long the median of known clocks stands; among few, another
// clock counts at once.
const (
	offsetEvery = time.Second
	fewPeers    = 32
)

// hear takes over a peer's latest stamp, so that what is written here from now on
// is later even than writes whose removals have been forgotten.
func (c *ClusterClock) observe(now time.Time, stamp clock.Timestamp) {
	if stamp <= c.Limit(now) {
		c.maxStamp = max(c.maxStamp, stamp)
	}
}

// Limit is the latest stamp that is merged now, here and by peers with good
// clocks: this peer's clock, corrected if most others disagree with it, and the
// skew allowed. A write stamped later must not be made.
func (c *ClusterClock) Limit(now time.Time) clock.Timestamp {
	return clock.TimestampAt(now.Add(c.offset + c.cfg.MaxSkew))
}

// Offset is how far the cluster's time is ahead of this peer's clock: the lower
// median of the peers' clocks and its own. Of two that disagree, the one ahead is
// taken to be wrong.
func (c *ClusterClock) Offset() time.Duration { return c.offset }

// Skewed reports whether this peer's clock is off by more than MaxSkew.
func (c *ClusterClock) Skewed() bool { return c.offset.Abs() > c.cfg.MaxSkew }

// compareClocks takes a sample of a peer's clock. What is late makes the clock look
// slow, so only the answer to a digest, which says when that was sent, may set it back
// (Cristian 1989).
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

// setOffset takes the median again, when a clock was heard or a peer came or went.
func (c *ClusterClock) setOffset(now time.Time) {
	c.offsetAt = now
	c.clocks = append(c.clocks[:0], 0) // its own
	for _, r := range c.reports {
		if r.heard && r.alive {
			c.clocks = append(c.clocks, r.offset)
		}
	}
	middle := (len(c.clocks) - 1) / 2
	nth(c.clocks, middle, func(a, b time.Duration) bool { return a < b })
	c.offset = c.clocks[middle]
}

// setReports brings the reports into the order of the peers.
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

// Odd calls f for each living peer whose clock or rules are not as they should be.
func (c *ClusterClock) Odd(f func(name string, clockSkewed, rulesDiffer bool)) {
	for i, r := range c.reports {
		if skewed, differ := c.skewed(r), c.differs(r); r.alive && (skewed || differ) {
			f(c.peers[i].Name, skewed, differ)
		}
	}
}

func (c *ClusterClock) skewed(r report) bool {
	return r.heard && (r.offset-c.offset).Abs() > c.cfg.MaxSkew
}

func (c *ClusterClock) differs(r report) bool { return r.heard && r.rules != c.cfg.Rules }

// MaxStamp returns the latest stamp written or merged here, or that a peer has.
func (c *ClusterClock) MaxStamp() clock.Timestamp { return c.maxStamp }

// Restored tells the engine the latest stamp of an earlier life whose store this is.
func (c *ClusterClock) Restored(stamp clock.Timestamp) { c.maxStamp = max(c.maxStamp, stamp) }

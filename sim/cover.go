package sim

import "slices"

// states are the rare states that a sweep must reach. A fault that never occurs in such a
// state proves nothing about it.
var states = []string{
	"a change of voters had to wait",
	"a claim was lost",
	"a clock stood still, and two held one lock",
	"a clock was too far ahead to write",
	"a store was full",
	"a clone was noticed",
	"a concurrent write lost",
	"a conditional put came too late",
	"a bearer went on at another peer",
	"a worker went on with its claim at another peer",
	"a cut in one direction",
	"a dead item was tried again",
	"a delta came twice",
	"a disk lost its last entries",
	"an entry of a disk could not be read",
	"an image was made beside the journal",
	"a disk was lost",
	"a frame of a later version was refused",
	"a holder was stopped beyond its lease",
	"a hole was asked for",
	"a late write was stopped by its token",
	"a leaf lost beside one that did not",
	"a life was retired",
	"a lease expired during a cut",
	"a lease was lost",
	"a lease was renewed with others",
	"a holder had time to stop",
	"a lock was granted by voters that came later",
	"a lock was granted during a cut",
	"a lock was granted in a false view",
	"a lock was shared",
	"a majority of voters was silent",
	"a message came minutes late",
	againPast,
	againSame,
	another,
	againNext,
	reflected,
	"a peer came back from disk",
	"a peer missed a join",
	"a peer stopped, and a bearer held a lease by it",
	"a peer was killed while its disk wrote",
	"a peer was killed with frames unread",
	"a queue overflowed",
	"a record came after its successor",
	"a record of a later version arrived",
	"a record was dropped after others",
	"a removal was forgotten",
	"a removal was forgotten in ignorance of a peer",
	"a retired life came back",
	"a slow subscriber lagged",
	"a stream broke",
	"a subscriber caught up",
	"a sum of retired lives differed",
	"a suspicion was false",
	"a void was sent",
	"a voter came back with its bound of tokens",
	"a voter started anew, and was silent",
	"a voter's name was claimed",
	"a worker beat to the end",
	"a worker that stopped was gone",
	"a worker that stopped was out of sight",
	"a worker was told too late that it had finished",
	"a write during a cut",
	"a write was set aside",
	"an entry expired",
	"an entry expired during a cut",
	"an id was taken",
	"an item was handed out again",
	"frames waited for a slow peer",
	"heads of nobody were ignored",
	"one dot had two contents",
	"owners split a vote",
	"packets did not pass",
	"ranges were reconciled",
	"requests for too much went unanswered",
	"two writes with one stamp",
	"voters changed under a lease",
	"who holds nothing was told so",
	"writes yet to come were said to be seen",
	"records were in dispute",
}

// States returns the rare states that a sweep of some thousand seeds reaches.
func States() []string { return slices.Clone(states) }

// Covered returns how often the run has reached each rare state, by name. The map is the
// cluster's own: do not change it.
func (c *Cluster) Covered() map[string]int { return c.met }

// reached counts that the run has reached a rare state.
func (c *Cluster) reached(state string) { c.met[state]++ }

// cover counts the rare states that the counters of p show.
func (j *judge) cover(p *Peer) {
	e, s := p.r.View().Stats(), p.r.Store().Stats()
	for state, n := range map[string]uint64{ // the order does not matter: each entry is alone
		"a hole was asked for":                  e.GapRequests,
		"ranges were reconciled":                e.Reconciliations,
		"a queue overflowed":                    e.Overflows,
		"packets did not pass":                  e.PathsBlocked,
		"a stream broke":                        e.Lost,
		"a removal was forgotten":               s.Collected,
		"a write was set aside":                 s.Quarantined,
		"a concurrent write lost":               s.Conflicts,
		"a record was dropped after others":     s.Dropped,
		"a record came after its successor":     s.Superseded,
		"an entry expired":                      s.Expired,
		"a void was sent":                       e.VoidsSent,
		"a delta came twice":                    s.Duplicates,
		"a life was retired":                    uint64(s.Retired),
		"a retired life came back":              s.Returned,
		"a sum of retired lives differed":       e.SyncsRefined,
		"one dot had two contents":              s.Rivals,
		"requests for too much went unanswered": e.GapsUnanswered,
		"heads of nobody were ignored":          e.HeadsIgnored,
	} {
		if n > 0 {
			j.c.reached(state)
		}
	}
}

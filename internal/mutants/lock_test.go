package mutants

import (
	"strings"
	"testing"
)

// locks are the mutants of the lock service. The random checker of its package must catch
// each of them, or another test there if only a forged message shows the mutant.
var locks = []mutant{
	{"O3 a grant takes a majority", "lockservice/voters.go",
		"return len(e.Names)/2 + 1 }", "return max(len(e.Names)/2, 1) }", "./lockservice", "TestCheckerFindsNoFault"},
	{"O3 a voter counts once however often it answers", "lockservice/round.go",
		"		r.acks |= bit\n		o.settle(t, r)\n", "		r.acks |= bit | 1<<bits.OnesCount8(r.acks)\n		o.settle(t, r)\n", "./lockservice", "TestCheckerFindsNoFault"},
	{"O3 rounds are not mixed", "lockservice/round.go",
		"r.no != m.Round || r.token != m.Token || ", "", "./lockservice", "TestCheckerFindsNoFault"},
	{"O4 an owner ends no instance", "lockservice/round.go",
		"if o.released.has(b.inst) && ", "if ", "./lockservice", "TestCheckerFindsNoFault"},
	{"A1 a live record is not overwritten", "lockservice/acceptor.go",
		"if r.inst != m.Inst && r.mode", "if r.inst != m.Inst && r.inst.Node != m.Inst.Node && r.mode", "./lockservice", "TestCheckerFindsNoFault"},
	{"A1 a live record of another is not overwritten", "lockservice/acceptor.go",
		"if r.inst != m.Inst && r.mode", "if len(list) == 0 && r.mode", "./lockservice", "TestCheckerFindsNoFault"},
	{"A4 a release names one lease of a lock", "lockservice/acceptor.go",
		"func(r record) bool { return r.inst == m.Inst })\n	a.keep", "func(r record) bool { return true })\n	a.keep", "./lockservice", "TestCheckerFindsNoFault"},
	{"A4 a release names one lease of a holder", "lockservice/acceptor.go",
		"func(r record) bool { return r.inst == m.Inst })\n	a.keep", "func(r record) bool { return r.inst.Node == m.Inst.Node })\n	a.keep", "./lockservice", "TestCheckerFindsNoFault"},
	{"A2 tokens are checked", "lockservice/acceptor.go",
		"if m.Token <= least && m.Flags&flagBearer == 0 {", "if false {", "./lockservice", "TestCheckerFindsNoFault"},
	{"A2 a renewal is checked against others only", "lockservice/acceptor.go",
		"		least = list[own].prev\n", "		least = 0\n", "./lockservice", "TestCheckerFindsNoFault"},
	{"A2 an acknowledged duplicate raises the floor of tokens", "lockservice/acceptor.go",
		"	a.raise(m.Lock, m.Token)\n	switch {\n	case own < 0 || after(m.Round, list[own].round): // A3, A5\n", "	switch {\n	case own < 0 || after(m.Round, list[own].round):\n		a.raise(m.Lock, m.Token)\n", "./lockservice", "TestAnAckThatChangesNothingRaisesTheFloor"},
	{"O2 a later round has a token of its own", "lockservice/queue.go",
		"w.trial.token = o.tokens.next(t.Wall)", "w.trial.token = max(t.Wall-uint64((t.Mono-w.asked)/time.Microsecond), o.tokens.last-500_000)", "./lockservice", "TestCheckerFindsNoFault"},
	{"A0 a voter that starts is silent", "lockservice/acceptor.go",
		"left > 0 { // A0", "left > 1<<62 {", "./lockservice", "TestCheckerFindsNoFault"},
	{"A6 a voter that starts is silent for long enough", "lockservice/acceptor.go",
		"now + cfg.Quarantine\n", "now + cfg.Quarantine*6/10\n", "./lockservice", "TestAVoterThatHasStartedSaysHowLongItIsSilent"},
	{"A6 a voter is fresh until each lease was renewed", "lockservice/acceptor.go",
		"a.quarantineUntil+a.cfg.recall()-t.Mono", "a.quarantineUntil-t.Mono", "./lockservice", "TestAVoterThatHasStartedIsFreshUntilItKnowsAllLeases"},
	{"A6 tokens are bounded on disk", "lockservice/acceptor.go",
		"base: cfg.State.TokenBound, ", "", "./lockservice", "TestCheckerFindsNoFault"},
	{"A6 no token is acknowledged above the bound on disk", "lockservice/acceptor.go",
		"m.Token > a.reserved {", "m.Token > a.reserved && false {", "./lockservice", "TestAForgedTokenAboveTheBoundOnDiskIsNotAcknowledged"},
	{"C1 a deadline counts from the send", "lockservice/client.go",
		"deadline := sent.at + r.TTL", "deadline := t.Mono + r.TTL", "./lockservice", "TestCheckerFindsNoFault"},
	{"C2 a lease past its deadline stays over", "lockservice/client.go",
		"	if r.phase == holding && t.Mono >= r.end() { // C2\n", "	if r.phase == holding && false {\n", "./lockservice", "TestCheckerFindsNoFault"},
	{"A5 drift has a margin", "lockservice/acceptor.go",
		"until: t.Mono + stretch(m.TTL, a.cfg.Drift)", "until: t.Mono + m.TTL", "./lockservice", "TestCheckerFindsNoFault"},
	{"O3 a majority is of the voters and not of the live peers", "lockservice/round.go",
		"voters, need := len(o.n.voters.Names), o.n.voters.majority()\n", "voters, need := len(o.n.voters.Names), len(o.n.liveVoters)/2+1\n", "./lockservice", "TestCheckerFindsNoFault"},
	{"R1 old epochs are refused", "lockservice/acceptor.go",
		"m.Epoch != a.epoch { // R1; a newer one must be adopted here first\n		return a.nack(m, Message{Reason: WrongEpoch})\n	}\n	if m.Hash != a.hash {",
		"m.Epoch > a.epoch {\n		return a.nack(m, Message{Reason: WrongEpoch})\n	}\n	if m.Epoch == a.epoch && m.Hash != a.hash {", "./lockservice", "TestAnAcceptorRefusesByName"},
	{"R4 voters change when the last change has settled", "lockservice/voters.go",
		"	if e.Epoch == 1 {\n", "	if e.Epoch >= 1 {\n", "./lockservice", "TestCheckerFindsNoFaultWhileVotersChange"},
	{"R4 a change settles when old leases have ended", "lockservice/voters.go",
		"left := e.since + quarantine - now; left > 0", "left := e.since + quarantine - now; left > 1<<62", "./lockservice", "TestVotersChangeByOneWhenTheLastChangeHasSettled"},
	{"R5 a voter makes the floor of a change durable first", "lockservice/node.go",
		"if m.Floor <= n.acceptor.reserved {", "if true {", "./lockservice", "TestAdoptionCountsWhenItsTokensAreDurable"},
	{"R5 a change of voters raises the tokens of recorded leases too", "lockservice/acceptor.go",
		"list[i].prev = max(list[i].prev, token)", "_ = i", "./lockservice", "TestWhatAChangeOfVotersTeachesHoldsForThoseOnRecord"},
	{"R3 voters change one at a time", "lockservice/voters.go",
		"len(changed) != 1", "len(changed) > 6", "./lockservice", "TestCheckerFindsNoFaultWhileVotersChange"},
	{"O3 only acknowledgements of voters count", "lockservice/round.go",
		"r, i := o.rounds[m.Inst], o.n.voters.index(from)\n	if r == nil || i < 0 ||", "r, i := o.rounds[m.Inst], max(o.n.voters.index(from), len(o.n.voters.Names)-1)\n	if r == nil ||", "./lockservice", "TestForgedAcksDoNotCount"},
	{"A4 only the client of an instance ends it", "lockservice/node.go",
		"if m.Inst.Node != from && (", "if false && (", "./lockservice", "TestForgedReleasesHaveNoEffect"},
	{"A9 only a voter that knows a lease lets it be resumed", "lockservice/acceptor.go",
		"m.Flags&flagResume != 0 && (", "m.Flags&flagResume != 0 && false && (", "./lockservice", "TestCheckerFindsNoFault"},
	{"A9 a lease is resumed by its own token", "lockservice/acceptor.go",
		"list[own].token != m.Token || ", "", "./lockservice", "TestALeaseThatIsNotThereIsNotResumed"},
	{"A8 a released lease is not renewed elsewhere", "lockservice/acceptor.go",
		"if a.gone.has(m.Inst) { // A8", "if false {", "./lockservice", "TestCheckerFindsNoFault"},
	{"A10 a late renewal revives no lease", "lockservice/acceptor.go",
		"a.seen(m.Lock) > m.Token { // A10", "false {", "./lockservice", "TestALateRenewalRevivesNoLease"},
	{"A10 a late renewal revives no lease whose lock was forgotten", "lockservice/acceptor.go",
		"	return f.folded\n", "	return 0\n", "./lockservice", "TestALateRenewalRevivesNoLease"},
	{"A3 rounds of two peers are not mixed", "lockservice/message.go",
		"k>>32 != o>>32 || k > o", "k > o", "./lockservice", "TestCheckerFindsNoFault"},
	{"C2 a bearer's lease that runs out here goes on elsewhere", "lockservice/client.go",
		"	if !r.Bearer {\n		c.depart(t, r, r.deadline, false)\n", "	if true {\n		c.depart(t, r, r.deadline, false)\n", "./lockservice", "TestCheckerFindsNoFault"},
	{"A7 a record goes when it has expired", "lockservice/acceptor.go",
		"func(r record) bool { return r.until <= now })", "func(r record) bool { return false })", "./lockservice", "TestALeaseThatIsRenewedByHandEndsWithout"},
	{"A7 a folded floor is no lower", "lockservice/acceptor.go",
		"f.base = max(f.base, f.folded)", "f.base = max(f.base, f.folded-1)", "./lockservice", "TestFoldedFloorsAreNoLower"},
	{"O1 only the head of a queue is proposed", "lockservice/queue.go",
		"if i > 0 && w.mode == Exclusive || l.blocked(w) {", "if l.blocked(w) {", "./lockservice", "TestOnlyTheHeadOfAQueueIsProposed"},
	{"O5 a split vote is given up", "lockservice/round.go",
		"	case r.acks != 0:\n", "	case false:\n", "./lockservice", "TestARoundThatSplitTheVotesIsGivenUp"},
	{"C3 a client that waits or holds says so", "lockservice/client.go",
		"next := t.Mono + r.TTL/3 - ", "next := t.Mono + r.TTL*3 - ", "./lockservice", "TestTenThousandLeasesAreRenewedInBatches"},
	{"C5 a lease that is granted too late is released", "lockservice/client.go",
		"c.departing.open[m.Inst] == nil && c.ended.has(m.Inst) {", "false {", "./lockservice", "TestWhatIsGrantedTooLateIsGivenBack"},
	{"C6 after a split vote an instance is new", "lockservice/client.go",
		"	c.depart(t, r, t.Mono, false)\n	r.phase = resting\n", "	r.phase = resting\n", "./lockservice", "TestAfterASplitVoteAnInstanceIsNew"},
	{"a survey names the peers whose clients it does not know", "lockservice/survey.go",
		"			silent[c.Peer] = s.replies[c.Peer] == nil\n", "			_ = c\n", "./lockservice", "TestASurveySaysWhoseClientsItDoesNotKnow"},
	{"a survey waits once for a peer that does not answer", "lockservice/survey.go",
		" && c.mute[p] <= t.Mono", "", "./lockservice", "TestASurveySaysWhoseClientsItDoesNotKnow"},
	{"a survey tells no locks of other voters", "lockservice/survey.go",
		"m.Hash != c.n.voters.hash {", "false {", "./lockservice", "TestASurveyTellsNoLocksOfOtherVoters"},
	{"R2 acks count within one epoch", "lockservice/round.go",
		"r != nil && m.Epoch == r.epoch { // R2", "r != nil {", "./lockservice", "TestForgedAcksDoNotCount"},
	{"R6 other voters of the same epoch are refused", "lockservice/acceptor.go",
		"m.Hash != a.hash { // R6", "false {", "./lockservice", "TestAnAcceptorRefusesByName"},
	{"C4 a lease that runs out is not released before its deadline", "lockservice/client.go",
		"c.depart(t, r, r.deadline, false)", "c.depart(t, r, t.Mono, false)", "./lockservice", "TestCheckerFindsNoFault"},
	{"C4 a change of the view releases no lease before its deadline", "lockservice/departure.go",
		"if t.Mono < d.from {", "if t.Mono < d.from && d.alarm.pos == 0 {", "./lockservice", "TestCheckerFindsNoFault"},
	{"C4 a lease whose holder has stopped is released at once", "lockservice/client.go",
		"		c.departing.stopped(t, id)\n", "", "./lockservice", "TestAHolderHasItsMarginToStop"},
	{"C4 a lease that was not unlocked is not released", "lockservice/session.go",
		"			if n := len(s.leases); n > 0 {\n", "			for _, id := range sortedKeys(s.leases) {\n				_ = s.node.Release(t, id)\n			}\n			if n := len(s.leases); n > 0 {\n", "./lockservice", "TestCloseReleasesNothingThatIsNotUnlocked"},
}

func TestTheLockCheckerSeesEveryMutant(t *testing.T) {
	for i, m := range locks {
		t.Run(strings.ReplaceAll(m.rule, " ", "-"), func(t *testing.T) {
			root, overlay := broken(t, m)
			if !mine(i) {
				return
			}
			t.Parallel()
			out, err := test(root, overlay, m.pkg, "-run=^"+m.test+"$", "-args", "-steps=6000000")
			if err == nil || !strings.Contains(out, "--- FAIL: "+m.test) {
				t.Errorf("%s did not notice: %v\n%s", m.test, err, out)
			}
		})
	}
}

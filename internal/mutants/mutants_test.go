package mutants

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var (
	enabled = flag.Bool("mutants", false, "build each mutant and run the tests that must catch it (about three minutes)")
	turn    = flag.Int("turn", -1, "build only the mutants whose number modulo 24 is this")
)

// mine reports whether this run builds the i-th mutant of a list.
func mine(i int) bool { return *enabled && (*turn < 0 || i%24 == *turn%24) }

// mutant is a rule with the change that breaks it: in file, the text before becomes after.
// The named test of pkg must fail then. It is a test of the rule, and not a golden trace
// hash, which changes with every rule.
type mutant struct {
	rule          string
	file          string
	before, after string
	pkg, test     string
}

var mutants = []mutant{
	{"a full bucket of the index passes its cells on", "crdt/table.go",
		"		b.marks.Store(uint64(m + onePassed))\n", "", "./crdt", "TestATableHoldsWhatWasAddedAndNotRemoved"},
	{"a cell that leaves the index is not counted as passed on", "crdt/table.go",
		"s.buckets[j].marks.Store(s.buckets[j].marks.Load() - onePassed)", "_ = j", "./crdt", "TestAnEmptySegmentCountsNoCells"},
	{"the first mark that fits is not the last place to look", "crdt/table.go",
		"	return t.search(key)\n", "	return nil\n", "./crdt", "TestATableHoldsWhatWasAddedAndNotRemoved"},
	{"small halves of the index are joined", "crdt/table.go",
		"	for s.depth > 0 {", "	for false {", "./crdt", "TestATableGrowsAndShrinksBySegments"},
	{"equal stamps are ordered by dot", "crdt/history.go",
		"		h.actors[a.actor].actor.Compare(h.actors[b.actor].actor),\n", "", "./crdt", "TestEqualStampsAreDecidedByActor"},
	{"the order of arrival does not decide between equal stamps", "crdt/history.go",
		"cmp.Compare(a.stamp, b.stamp),\n", "max(cmp.Compare(a.stamp, b.stamp), 0),\n", "./crdt", "TestPutPutDeleteAgainstAConcurrentPutHasOneOutcome"},
	{"a write covers what it has seen", "crdt/apply.go",
		"	w.setPast(r, w.slotPast(kind, path, false))\n	w.commit(r)\n}\n\n// tombstone", "	w.commit(r)\n}\n\n// tombstone", "./crdt", "TestAWriteOverAConflictCoversTheLoser"},
	{"a removal covers what it has seen", "crdt/apply.go",
		"	r.tomb = true\n	w.setPast(r, w.slotPast(kind, path, false))", "	r.tomb = true", "./crdt", "TestConcurrentIncrementsAllCount"},
	{"a covered record is removed", "crdt/join.go",
		"		if r.covers(other.actor, other.seq) {\n			s.remove(other)\n			s.noteCovered(r, other)\n			other.overwrittenBy(r)\n		} else {\n			kept = append(kept, other)\n		}\n	}\n	clear(slot[len(kept):])\n	s.insert(r)",
		"		kept = append(kept, other)\n	}\n	clear(slot[len(kept):])\n	s.insert(r)", "./crdt", "TestAnIncrementAfterSeeingOthersKeepsTheirs"},
	{"a record that is covered already is not stored", "crdt/join.go",
		"		if other.covers(r.actor, r.seq) {\n			s.stats.Superseded++\n			return false\n		}\n	}\n	kept", "	_ = other\n	}\n	kept", "./crdt", "TestARemoveThatComesFirstStillRemoves"},
	{"an element that several peers added counts once", "crdt/outline.go",
		"	if before == after {\n		return\n	}\n", "", "./crdt", "TestTheStoreAgreesWithTheReferenceModelAfterEveryStep"},
	{"pages have what came since the page before", "crdt/outline.go",
		"		m.outline.list.Note(slot, before)\n", "", "./crdt", "TestThePagesAreTheWhole"},
	{"pages have a field that was written once", "crdt/join.go",
		"		s.follow(m, key, false, s.visible(m, r))\n", "", "./crdt", "TestThePagesAreTheWhole"},
	{"content of two kinds at one path is read as a whole", "crdt/page.go",
		" || p.many.contradicts(place.at, place.kind)", "", "./crdt", "TestThePagesAreTheWhole"},
	{"the order of a key that nobody reads is dropped", "crdt/outline.go",
		"o.used+outlineIdle <= nowMillis", "false", "./crdt", "TestAnOrderNobodyReadsIsDropped"},
	{"a past does not remove a register", "crdt/join.go",
		"	if r.kind.lww() {\n		return s.wins(clear, r)\n	}", "", "./crdt", "TestDeltasConvergeInAnyOrder"},
	{"a clear removes only what it has seen", "crdt/join.go",
		"	return clear.covers(r.actor, r.seq)\n", "	return true\n", "./crdt", "TestAConcurrentAddWinsOverAClear"},
	{"a dot is merged once", "crdt/encoding.go",
		"if st.span.Contains(seq) && n >= 5 {", "if st.span.Contains(seq) && n > 8 {", "./crdt", "TestDamagedSectionsAreRefusedOrMergedWhole"},
	{"a dot is used once", "crdt/apply.go",
		"r.seq = s.self.span.Head() + 1", "r.seq = max(s.self.span.Head(), 1)", "./crdt", "TestAllSmallHistoriesConverge"},
	{"the removal of an absent element is refused", "crdt/admissible.go",
		"	case n == 0:\n		return 0, errElement\n", "	case n == 0:\n		return 0, nil\n", "./crdt", "TestAnAbsentValueIsRefusedEverywhere"},
	{"a path and its value share one limit of depth", "crdt/admissible.go",
		"if levels+depthOf(&r) > wire.MaxDepth {", "if depthOf(&r) > wire.MaxDepth {", "./crdt", "TestAPathAndWhatIsAtItNestNoDeeperThanAValue"},
	{"a batch sees its own removals", "crdt/batch.go",
		"case p.kind == Set && b.emptied(key, p):", "case false:", "./crdt", "TestEachOperationOfAUnitSeesTheEarlierOnes"},
	{"a removal in a batch shows another kind", "crdt/batch.go",
		"case b.contested(key): //", "case false: //", "./crdt", "TestABatchFindsTheKindThatItsRemovalsShow"},
	{"a batch sees its own counts", "crdt/batch.go",
		"			t = t.after(&b.ops[i], path)\n", "			_ = i\n", "./crdt", "TestEachOperationOfAUnitSeesTheEarlierOnes"},
	{"a batch reads its latest write", "crdt/begin.go",
		"	for ; p.tried < len(p.ops); p.tried++ {", "	for ; p.tried < len(p.ops)-1; p.tried++ {", "./crdt", "TestABatchReadsItsOwnWrites"},
	{"a batch knows which elements it has removed", "crdt/begin.go",
		"		return false, slices.Contains(op.Values, v)\n", "		return false, false\n", "./crdt", "TestABatchReadsItsOwnWrites"},
	{"a batch checks no version that it has replaced", "crdt/begin.go",
		"	if b.planned(key) != nil {\n		return 0, &OrderError{key}\n	}\n", "", "./crdt", "TestABatchThatIsNotCommittedLeavesNothing"},
	{"an actor's part of a counter is bounded", "crdt/batch.go",
		"if !ok || !part {", "if !ok || !part && false {", "./crdt", "TestACounterIsExactWithinItsRange"},
	{"a local operation is checked by the common rule", "crdt/admissible.go",
		"	return admissible(kind, tomb, path, v)\n}", "	return nil\n}", "./crdt", "FuzzWhatIsWrittenIsTaken"},
	{"a received record is checked by the common rule", "crdt/encoding.go",
		"	return admissible(kind, tomb, path, Value{unsafe.String(unsafe.SliceData(body), len(body))})\n", "	return nil\n", "./crdt", "TestWhatNoOperationMakesIsRefusedOfOthers"},
	{"a full store refuses an operation that adds bytes", "crdt/admission.go",
		"	if adds <= max(free, 0) {\n", "	if adds >= 0 {\n", "./crdt", "TestAFloodEndsInRefusalsAndWhatShrinksPasses"},
	{"bytes that a batch frees count once", "crdt/draft.go",
		"	case ok && e.step > since:\n		return e.stock\n	case since > 0:\n", "	case ok && e.step > since && false:\n		return e.stock\n	case since > 0:\n", "./crdt", "TestAFloodEndsInRefusalsAndWhatShrinksPasses"},
	{"an increment of an existing count has room", "crdt/draft.go",
		"size = min(size, own.contentBytes)", "size = max(size, own.contentBytes)", "./crdt", "TestAFloodEndsInRefusalsAndWhatShrinksPasses"},
	{"a clear frees the records that it replaces", "crdt/draftclear.go",
		"	d.cleared[path] = d.step\n	return true\n", "	return true\n", "./crdt", "TestGrowthIsKnownBefore"},
	{"a full store takes the records of work queues", "crdt/admission.go",
		"		if op.Vital && n > 0 {\n", "		if op.Vital && n < 0 {\n", "./crdt", "TestAFloodEndsInRefusalsAndWhatShrinksPasses"},
	{"a full store takes only short records of work queues", "crdt/admission.go",
		"n = max(n-VitalBytes, 0)", "n = 0", "./crdt", "TestAFloodEndsInRefusalsAndWhatShrinksPasses"},
	{"a request of a sync says what its sender's clock shows", "gossip/sync.go",
		"		e.claim(p, theirs, shown)\n", "		e.claim(p, theirs, 0)\n		_ = shown\n", "./agent", "TestWhatEndsIsForgottenBesideSteadyWrites"},
	{"what has ended is reported before a frame may bring it back", "internal/replica/replica.go",
		"	if r.store.NextExpiry() <= millis(now) {", "	if false {", "./internal/replica", "TestWhatADeadlineBringsBackIsTold"},
	{"what cannot be read was not seen", "crdt/journal.go",
		"		gap = gap || missing\n", "		gap = missing && false\n", "./crdt", "TestWhatCannotBeReadWasNotSeen"},
	{"an image has all records", "crdt/journal.go",
		"n-len(run), last+1\n", "n-len(run), last+2\n", "./crdt", "TestTheJournalIsTheStore"},
	{"the journal says what was forgotten", "crdt/join.go",
		"	s.remove(r)\n	s.noteGone(r)\n", "	s.remove(r)\n", "./crdt", "TestWhatWasForgottenDoesNotComeBack"},
	{"the journal says what a past covered", "crdt/journal.go",
		"		v.noteGone(other)\n", "		_ = other\n", "./crdt", "TestAnImageMayBeNewerThanTheEntriesAfterIt"},
	{"the journal says what lost when it was merged", "crdt/join.go",
		"	if !r.live() {\n		s.noteGone(r)\n	}\n", "", "./crdt", "TestAnImageMayBeNewerThanTheEntriesAfterIt"},
	{"a record of an entry is merged again if it is not live", "crdt/encoding.go",
		"dead := cur == nil && !s.restoring", "dead := cur == nil", "./crdt", "TestAnImageMayBeNewerThanTheEntriesAfterIt"},
	{"the journal has what was overwritten", "crdt/journal.go",
		"last.seq, run, true)", "last.seq, run, false)", "./crdt", "TestTheJournalHasWhatWasOverwritten"},
	{"what was reported as expired stays away after a restart", "crdt/journal.go",
		"	s.Expire(s.through)\n", "", "./crdt", "TestWhatExpiredStaysAwayAfterARestart"},
	{"a removal stays while a record that it covers may arrive", "crdt/stable.go",
		"missing = missing || stable[st.actor] < p.seq", "", "./crdt", "TestARemovalStaysWhileWhatItCoversMayCome"},
	{"a removal waits for all peers that are missing", "crdt/stable.go",
		"if st := s.actors[p.actor]; st.span.Base < p.seq {", "if st := s.actors[p.actor]; st.span.Base < p.seq && !missing {", "./crdt", "TestAllWhoAreMissingAreAwaited"},
	{"a removal goes when no peer has a record that it covers", "crdt/stable.go",
		"missing = missing || stable[st.actor] < p.seq", "missing = true", "./crdt", "TestARemovalStaysWhileWhatItCoversMayCome"},
	{"removals take a share of the memory", "crdt/stable.go",
		"		limit = s.maxBytes / 4\n", "		limit = s.maxBytes\n", "./crdt", "TestRemovalsAndConflictsTakeAShareOfTheLimit"},
	{"concurrent losers take a share of the memory", "crdt/conflict.go",
		"maxBytes = min(maxBytes, s.maxBytes/16)", "maxBytes = min(maxBytes, s.maxBytes)", "./crdt", "TestRemovalsAndConflictsTakeAShareOfTheLimit"},
	{"the conditions of a batch see its earlier operations", "crdt/batch.go",
		"	p := b.keys[op.Key]\n	have, err", "	var p *plannedKey\n	have, err", "./crdt", "TestEachOperationOfAUnitSeesTheEarlierOnes"},
	{"a put keeps the type of its key", "crdt/op.go",
		"cmp.Or(ruled, kept, Register)", "cmp.Or(ruled, Register)", "./agent", "TestAPutKeepsTheTypeOfItsKey"},
	{"an object stays without fields", "crdt/object.go",
		"(removed || !w.holds(path))", "!w.holds(path)", "./crdt", "TestNobodyEmptiesAnObjectAway"},
	{"a set in an object stays without elements", "crdt/elements.go",
		"if removed && path != \"\" {", "if removed && false {", "./crdt", "TestNobodyEmptiesAnObjectAway"},
	{"a surviving value is reported with its own cause", "crdt/notify.go",
		"	if c.Cause == CauseConflict {\n		return\n	}\n", "", "./crdt", "TestWhatSurvivesIsToldByItsOwnCause"},
	{"a write is not reported as an expiry", "crdt/notify.go",
		"if p.write >= 0 {", "if p.write >= 0 && p.expiry < 0 {", "./crdt", "TestAnExpiryIsToldBesideAWrite"},
	{"a write with a stamp beyond the skew is set aside", "crdt/encoding.go",
		"if stamp > limit {", "if stamp > limit && false {", "./gossip", "TestAWriteFromTheFutureWaitsForItsTime"},
	{"the writes of a retired actor stay seen", "crdt/history.go",
		" else if span := h.context.Span(a); span != nil {\n		st.span = span.Clone()\n	}\n", "\n", "./crdt", "TestWhomARecordNamesStaysKnown"},
	{"tables keep every actor with live records", "crdt/retire.go",
		"len(st.live) == 0 && ", "", "./crdt", "TestWhomARecordNamesStaysKnown"},
	{"tables keep every actor that records name", "crdt/retire.go",
		"if !named[st.index] {", "if !named[st.index] || true {", "./crdt", "TestWhomARecordNamesStaysKnown"},
	{"a sum of retired lives is understood by a peer with the same sum", "clock/summary.go",
		"if p.Sum != 0 && p.Sum != c.sumBeside(s.Listed, after, p.UpTo) {", "if false {", "./clock", "TestASummaryIsUnderstood"},
	{"an actor that is not listed beside sums was not seen", "clock/summary.go",
		"out.push(a, both.Theirs) // an empty span", "out.push(a, both.Mine) // an empty span", "./clock", "TestASummaryIsUnderstood"},
	{"a listed actor counts as the list says", "clock/retired.go",
		"			sum -= was.share(c.actors[i])\n", "			_ = was\n", "./clock", "TestRetiringChangesNothingOfWhatWasSeen"},
	{"a peer that joins gets the retired lives in parts", "gossip/sync.go",
		"FirstBeyond(theirs, maxContextActors, wire.MaxGapRanges)", "FirstBeyond(theirs, 1<<30, 1<<30)", "./internal/replica", "TestWhoJoinsIsToldOfAMillionLivesInParts"},
	{"the peer that knows fewer retired lives asks", "clock/summary.go",
		"				p.Sum, left = Summed, true // the receiver may have none, and then its sum is 0\n", "				p.Sum, named = 0, 0\n", "./internal/replica", "TestWhoJoinsIsToldOfAMillionLivesInParts"},
	{"a peer that has just restored many lives retires them before it asks", "gossip/retire.go",
		"len(s.store.Context().Listed()) > retireSoon+2*len(s.peers)", "false", "./internal/replica", "TestWhoJoinsIsToldOfAMillionLivesInParts"},
	{"lives that have ended are retired", "internal/replica/replica.go",
		"			r.engine.Retire(now)\n", "", "./internal/replica", "TestManyLivesCostWhatFewDo"},
	{"the longest of concurrent deadlines wins", "crdt/deadline.go",
		"c.until = max(c.until, cmp.Or(r.expiry(), never))", "c.until = cmp.Or(r.expiry(), never)", "./crdt", "TestTheLongestDeadlineWins"},
	{"no deadline at all wins over all", "crdt/deadline.go",
		"c.until = max(c.until, cmp.Or(r.expiry(), never))", "c.until = max(c.until, cmp.Or(r.expiry(), 0))", "./crdt", "TestTheLongestDeadlineWins"},
	{"a deadline is about the writes before it", "crdt/deadline.go",
		"m.deadline.last != nil && h.wins(m.deadline.last, r)", "m.deadline.last != nil", "./crdt", "TestADeadlineLeavesTheValueAlone"},
	{"what has ended is not brought back", "crdt/deadline.go",
		"c.over = c.over || c.until <= later.begun", "c.over = c.over && c.until <= later.begun", "./crdt", "TestWhatHasEndedStaysEnded"},
	{"what another peer may prolong is not forgotten", "crdt/deadline.go",
		"s.expiryOf(m, r) <= settled && ", "", "./crdt", "TestWhatHasEndedStaysEnded"},
	{"deadlines are on disk", "crdt/journal.go",
		"noteMerged(r *record) {\n	if v.journals {\n", "noteMerged(r *record) {\n	if v.journals && r.kind != slotDeadline {\n", "./crdt", "TestTheJournalIsTheStore"},
	{"removals are kept until stable", "internal/replica/replica.go",
		"r.store.Collect(r.engine.Stable(now), r.engine.Settled(now), millis(now))", "r.store.Collect(r.store.Context().Vector(), millis(now), millis(now))", "./sim", "TestNoSeedViolatesAPromise"},
	{"stable means that this replica has it too", "gossip/acks.go",
		"if p.claimed == nil || p.claimed != s.snap && !s.store.Context().Covers(p.claimed) {", "if p.claimed == nil {", "./gossip", "TestNothingIsStableWhileAKnownPeerIsAway"},
	{"stable means every peer", "gossip/stable.go",
		"		if p.acked == nil || p.membersHash != s.membersHash { // by its last digest, also if it is down\n			return c, false\n", "		if p.acked == nil {\n			continue\n", "./gossip", "TestNothingIsStableWhileAKnownPeerIsAway"},
	{"a missing dot is awaited while some peer may have it", "gossip/stable.go",
		"!spanOf(p.acked, a).Equal(seen)", "p.acked.Span(a) == nil", "./gossip", "TestAHoleOfALifeThatEndedHoldsUpNothingForEver"},
	{"a missing dot is awaited while its writer may send it", "gossip/stable.go",
		"return c.of.quiescent(a) && !slices", "return !slices", "./gossip", "TestAHoleOfALifeThatEndedHoldsUpNothingForEver"},
	{"a missing dot is awaited while frames may be under way", "gossip/stable.go",
		"now.Sub(since) >= gapsHoldFor", "now.Sub(since) >= 0", "./gossip", "TestAHoleOfALifeThatEndedHoldsUpNothingForEver"},
	{"a late write that closes a gap is collected in its turn", "crdt/store.go",
		"	st.collected = min(st.collected, r.seq-1) // r may fill a gap that a crash left\n", "", "./crdt", "TestWhatFillsAHoleIsCollectedInItsTurn"},
	{"a peer that is down may have known other peers", "gossip/stable.go",
		"p.acked == nil || p.membersHash != s.membersHash {", "p.acked == nil || p.Alive && p.membersHash != s.membersHash {", "./gossip", "TestNothingIsStableWhileAKnownPeerIsAway"},
	{"stable means that all peers know the same peers", "gossip/stable.go",
		"if p.acked == nil || p.membersHash != s.membersHash {", "if p.acked == nil {", "./gossip", "TestNothingIsStableWhileAKnownPeerIsAway"},
	{"one peer alone is not believed how much another wrote", "gossip/witness.go",
		"			unconfirmed, ok = a, false\n", "", "./gossip", "TestNobodysWordAloneSaysHowMuchAnotherWrote"},
	{"a peer does not confirm its own claim", "gossip/witness.go",
		"if q == p || q.claimed == nil", "if q.claimed == nil", "./gossip", "TestNobodysWordAloneSaysHowMuchAnotherWrote"},
	{"a peer that is down may have written more", "gossip/witness.go",
		"return now.Sub(later(q.downAt, p.joined)) >= believeAfter", "return true", "./gossip", "TestTheLastWritesOfThoseWhoAreGone"},
	{"a peer that came back is not believed about one that did not", "gossip/witness.go",
		"later(q.downAt, p.joined)", "q.downAt", "./gossip", "TestTheLastWritesOfThoseWhoAreGone"},
	{"a peer that does not answer keeps no others apart", "gossip/witness.go",
		"return p.unanswered >= silentRequests && now.Sub(p.unansweredSince) >= silentAfter", "return false", "./gossip", "TestThoseWhoDoNotAnswerKeepNobodyApart"},
	{"a lost answer is not silence", "gossip/witness.go",
		"p.unanswered >= silentRequests && ", "", "./gossip", "TestTheLastWritesOfThoseWhoAreGone"},
	{"a peer that answers is not silent", "gossip/sync.go",
		"	p.unanswered = 0\n", "", "./gossip", "TestTheLastWritesOfThoseWhoAreGone"},
	{"a long list of one peer alone is not believed", "gossip/absence.go",
		"p.dropped+len(dots) <= maxUnconfirmedDrops", "true", "./gossip", "TestAListThatTakesMuchIsBelievedInTenMinutes"},
	{"a peer that insists is believed in the end", "gossip/absence.go",
		"now.Sub(since) >= believeAfter", "now.Sub(since) >= 100*believeAfter", "./gossip", "TestAListThatTakesMuchIsBelievedInTenMinutes"},
	{"a record is dropped if two peers say that it is gone", "gossip/absence.go",
		"slices.ContainsFunc(others, second)", "slices.ContainsFunc(others[:0], second)", "./gossip", "TestWhatTwoSayIsGoneGoes"},
	{"many short lists count as a long one", "gossip/absence.go",
		"		p.dropped += dropped\n", "", "./gossip", "TestAFewRecordsGoAtAWord"},
	{"a peer that agrees again has withdrawn its list", "gossip/sync.go",
		"p.behind, p.absent = false, nil", "p.behind = false", "./gossip", "TestWhatIsTakenBackWasNotSaid"},
	{"a peer that lists a record has it", "gossip/reconcile.go",
		"				delete(in.from.absent, x.Dot())\n", "", "./gossip", "TestWhatIsTakenBackWasNotSaid"},
	{"a record that a list drops is in the journal", "crdt/join.go",
		"	s.noteConflict(\"another peer holds it no more\", Side{Dot: clock.Dot{Actor: reporter}, Stamp: at}, r)\n", "", "./gossip", "TestAListThatTakesMuchIsBelievedInTenMinutes"},
	{"voids come with the records that superseded them", "crdt/encoding.go",
		"s.voids[n-1].Last == res.Last", "false", "./gossip", "TestVoidsAloneAreRefused"},
	{"a section has few voids", "crdt/encoding.go",
		"(sectionReader{s}).countVoids() > wire.MaxSectionDeltas", "false", "./crdt", "TestMoreVoidsThanASectionHasAreRefused"},
	{"a sync that brought nothing is followed by a pause", "gossip/sync.go",
		"	p.notBefore = now.Add(p.pauseTime)\n", "", "./gossip", "TestASyncThatBroughtNothingIsFollowedByAPause"},
	{"a large answer is not repeated while it may be under way", "gossip/sync.go",
		"if heard >= p.largeAnswered || !in.now.Before(p.answerUntil) {", "if true {", "./internal/replica", "TestASyncOverASlowPathSendsItsStateOnce"},
	{"a slow answer is awaited as long as it goes on", "gossip/sync.go",
		"		p.requestedAt, p.repeats = time.Time{}, 0\n", "		p.endSync()\n", "./internal/replica", "TestASyncOverASlowPathSendsItsStateOnce"},
	{"a large difference is repaired in pieces", "gossip/reconcile.go",
		"listed <= maxListedDots &&", "true &&", "./gossip", "TestALargeDifferenceIsMadeGoodInPieces"},
	{"writes are pushed", "gossip/push.go",
		"	s.enqueue(now, deltas, urgent)\n", "", "./internal/replica", "TestAWriteReachesEveryPeerByPushAlone"},
	{"missing dots are requested", "gossip/repair.go",
		"	if len(s.gaps) == 0 {\n", "	if len(s.gaps) >= 0 {\n", "./internal/replica", "TestPeersAgreeDespiteLoss"},
	{"the end of a burst is announced", "gossip/push.go",
		"		if !p.Alive || !due(p.headAt, now) {\n", "		if true {\n", "./internal/replica", "TestAWriteReachesEveryPeerByPushAlone"},
	{"a digest covers the content", "gossip/digest.go",
		"d.contextHash() ^ d.store.Sum()*0x9e3779b97f4a7c15", "d.contextHash()", "./internal/replica", "TestADroppedRecordIsFoundByItsChecksum"},
	{"checksums cover contents", "crdt/history.go",
		"fold(h.actors[r.actor].hash(r.seq), r.fingerprint())", "h.actors[r.actor].hash(r.seq)", "./gossip", "TestADotWithTwoContentsIsFoundAndDecided"},
	{"two contents of a dot leave the same one in either order", "crdt/rival.go",
		"return share <= s.share(d.r)", "return true", "./crdt", "TestOfTwoContentsOfOneDotOneStays"},
	{"lists distinguish the contents of a dot", "gossip/reconcile.go",
		"case share == e.store.Hash(x):", "case true:", "./gossip", "TestADotWithTwoContentsIsFoundAndDecided"},
	{"a record that broke in memory leaves the checksums", "gossip/reconcile.go",
		"	s.store.Resum()\n", "", "./gossip", "TestBrokenMemoryIsNoLastingDifference"},
	{"a write does not run ahead of the cluster", "internal/replica/replica.go",
		"stamp > limit && !r.follows", "stamp > limit && false && !r.follows", "./internal/replica", "TestAClockAheadOfTheClusterRefusesToWrite"},
	{"the clock follows received stamps", "internal/replica/replica.go",
		"	r.hlc.Observe(r.engine.MaxStamp())\n", "", "./sim", "TestNoSeedViolatesAPromise"},
	{"outputs do not depend on map order", "gossip/repair.go",
		"	slices.SortFunc(dueFor, clock.Actor.Compare)\n", "	_ = slices.Contains(dueFor, clock.Actor{})\n", "./gossip", "TestOutputIsAFunctionOfInput"},
	{"a distant peer is not blocked", "gossip/path.go",
		"		wait <<= t.tries - 1\n", "", "./internal/replica", "TestADistantPeerIsNotBlocked"},
	{"an unanswered probe puts frames on the stream before the verdict", "gossip/path.go",
		"(t.firstUnanswered == 0 || t.tries < 2)", "true", "./internal/replica", "TestAWriteDoesNotWaitForAVerdictAtEachHop"},
	{"a block casts doubt on other paths", "gossip/shared.go",
		" || heard.Before(s.blockedAt)", "", "./internal/replica", "TestABlockCastsDoubtOnOtherPaths"},
	{"queues are bounded", "gossip/push.go",
		"if p.queued > s.cfg.QueueBytes {", "if p.queued > 1<<40 {", "./gossip", "TestAPeerThatTakesNothingCostsABoundedQueue"},
	{"a sync leaves out writes that the tree is sending", "gossip/sync.go",
		"return max(m.landed, both.Theirs.Base)", "return head", "./gossip", "TestASyncLeavesToTheTreeWhatIsOnItsWay"},
}

func TestEveryMutantIsCaught(t *testing.T) {
	for i, m := range slices.Concat(mutants, records, queue, wire, journal) {
		t.Run(strings.ReplaceAll(m.rule, " ", "-"), func(t *testing.T) {
			root, overlay := broken(t, m)
			if !mine(i) {
				return
			}
			t.Parallel()
			out, err := test(root, overlay, m.pkg, "-short", "-run=^"+m.test+"$")
			if err == nil || !strings.Contains(out, "--- FAIL: "+m.test) {
				t.Errorf("%s did not notice: %v\n%s", m.test, err, out)
			}
		})
	}
}

// broken returns the module's root and an overlay for go build that breaks the rule.
func broken(t *testing.T, m mutant) (root, overlay string) {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(root, filepath.FromSlash(m.file))
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), m.before); n != 1 {
		t.Fatalf("%s holds the rule's code %d times, want once: update the mutant", m.file, n)
	}
	changed := filepath.Join(t.TempDir(), "broken.go")
	if err := os.WriteFile(changed, []byte(strings.Replace(string(source), m.before, m.after, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := json.Marshal(map[string]any{"Replace": map[string]string{file: changed}})
	if err != nil {
		t.Fatal(err)
	}
	overlay = filepath.Join(t.TempDir(), "overlay.json")
	if err := os.WriteFile(overlay, list, 0o600); err != nil {
		t.Fatal(err)
	}
	return root, overlay
}

// test runs tests of one package in the broken build, and returns their output. The caller
// must look for the failure of the test in it: a build that fails, hangs or panics elsewhere
// also returns an error.
func test(root, overlay, pkg string, args ...string) (string, error) {
	cmd := exec.Command("go", append([]string{"test", "-overlay", overlay, "-vet=off", "-ldflags=-s -w", "-timeout=300s", pkg}, args...)...)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	return string(out), err
}

package mutants

// queue are the rules of work queues.
var queue = []mutant{
	{"what is done is barred", "internal/queue/voter.go",
		"return e != nil && e.closed(now) && e.token != token", "return e != nil && e.closed(now) && false", "./internal/queue", "TestAVoterBarsWhatWasSaidUnderAnotherToken"},
	{"what failed is barred until it is due", "internal/queue/entry.go",
		"		return e.claim.NotBefore > now.UnixMilli()\n", "		return false\n", "./internal/queue", "TestAVoterBarsWhatWasSaidUnderAnotherToken"},
	{"a voter bars what is done", "lockservice/acceptor.go",
		"a.cfg.Barred(m.Lock, m.Token) {", "a.cfg.Barred(m.Lock, m.Token) && false {", "./lockservice", "TestABarredLockIsNotCertified"},
	{"a lease is confirmed by a later round", "lockservice/each.go",
		"l.round >= round", "true", "./lockservice", "TestManyLocksAreTriedAtOnce"},
	{"a claim is named by its token", "agent/workclaim.go",
		"c == nil || c.Token() != token", "c == nil", "./internal/httpapi", "TestAWorkQueueOverHTTP"},
	{"the greatest token counts", "internal/queue/index.go",
		"cmp.Or(cmp.Compare(token, e.token), cmp.Compare(v, e.verdict)) <= 0", "cmp.Compare(v, e.verdict) <= 0 && token == e.token", "./internal/queue", "TestTheGreatestTokenHoldsInAnyOrder"},
	{"a lost claim is pending again", "internal/queue/finish.go",
		"	x.Counters.Lost++\n	x.leave(now, c, time.Time{})\n", "	x.Counters.Lost++\n", "./internal/queue", "TestALostClaimIsPendingAgainAndHasCounted"},
	{"an id is taken while its result is kept", "internal/queue/add.go",
		"e != nil && (e.present || e.verdict == done)", "e != nil && e.present", "./internal/queue", "TestAnIDIsTakenWhileItsResultIsKept"},
	{"a verdict is valid while its lease lasts", "internal/queue/finish.go",
		"valid = acked && left > 0", "valid = acked", "./internal/queue", "TestOnlyTheHolderWhoseLeaseLastsFinishes"},
	{"a claim has a lease", "internal/queue/claim.go",
		"c.phase != granted || ", "", "./internal/queue", "TestNothingIsClaimedThatWasNotGranted"},
	{"attempts do not fall", "internal/queue/claim.go",
		"e.attempts+1", "e.claim.Attempt+1", "./internal/queue", "TestAttemptsDoNotFallWhenARecordGoes"},
	{"a verdict is a majority's", "internal/queue/voter.go",
		"n > len(voters)/2", "n > 0", "./internal/queue", "TestAMajorityOfVotersAcknowledges"},
}

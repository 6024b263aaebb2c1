package mutants

// queue are the rules of work queues.
var queue = []mutant{
	{"what is done is barred", "agent/workqueue.go",
		"	return closed && by != token\n", "	return closed && by != token && false\n", "./agent", "TestWhatIsDoneIsBarredUnderEveryOtherToken"},
	{"what failed is barred until it is due", "agent/workindex.go",
		"		return e.token, e.claim.NotBefore > now.UnixMilli()\n", "		return 0, false\n", "./agent", "TestWhatFailedIsBarredUntilItIsDue"},
	{"a voter bars what is done", "lockservice/acceptor.go",
		"a.cfg.Barred(m.Lock, m.Token) {", "a.cfg.Barred(m.Lock, m.Token) && false {", "./lockservice", "TestABarredLockIsNotCertified"},
	{"a lease is confirmed by a later round", "lockservice/each.go",
		"l.round >= round", "true", "./lockservice", "TestManyLocksAreTriedAtOnce"},
	{"a claim is named by its token", "agent/workclaim.go",
		"c == nil || c.Token() != token", "c == nil", "./internal/httpapi", "TestAWorkQueueOverHTTP"},
	{"the greatest token counts", "agent/workindex.go",
		"cmp.Or(cmp.Compare(token, e.token), cmp.Compare(v, e.verdict)) <= 0", "cmp.Compare(v, e.verdict) <= 0 && token == e.token", "./agent", "TestTheGreatestTokenHoldsInAnyOrder"},
	{"a lost claim is pending again", "agent/workclaim.go",
		"	c.leave(time.Time{})\n	c.x.mu.Lock()\n	c.x.counters.Lost++", "	c.x.mu.Lock()\n	c.x.counters.Lost++", "./agent", "TestALostClaimIsPendingAgainAtItsPeer"},
	{"an id is taken while its result is kept", "agent/workindex.go",
		"e != nil && (e.present || e.verdict == done)", "e != nil && e.present", "./agent", "TestAnIDIsTakenOnce"},
	{"a verdict is a majority's", "agent/workfinish.go",
		"len(by) > len(voters)/2", "len(by) > 0", "./agent", "TestACompleteWithoutAMajorityIsRefused"},
}

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

// queueing are the rules of work queues that the simulator must see broken, as those of
// simulated.
var queueing = []mutant{
	{"a worker claims with a lease", "sim/queue_worker.go",
		"	case r.Event == lockservice.Refused:\n", "	case r.Event == lockservice.Refused && w.times > 0:\n		q.core.Granted(c, lockservice.TokenAt(q.shop.p.wall()))\n		w.confirmed()\n	case r.Event == lockservice.Refused:\n", "", ""},
	{"a completion is its holder's", "internal/queue/finish.go",
		"valid = acked && left > 0", "valid = acked", "", ""},
	{"a completion is known to a majority of voters", "internal/queue/voter.go",
		"n > len(voters)/2", "n > 0", "", ""},
	{"of two claims the later counts", "internal/queue/index.go",
		"cmp.Or(cmp.Compare(token, e.token), cmp.Compare(v, e.verdict)) <= 0", "cmp.Compare(v, e.verdict) <= 0", "", ""},
	{"what was claimed by who died is pending again", "internal/queue/entry.go",
		"if len(x.waiters) == 0 && x.held(e) {", "if e.verdict == claimed {", "", ""},
	{"an id is taken after its item is collected", "internal/queue/add.go",
		"e != nil && (e.present || e.verdict == done)", "e != nil && e.present", "", ""},
	{"a voter bars an item that is done", "internal/queue/voter.go",
		"return e != nil && e.closed(now) && e.token != token", "return e != nil && e.closed(now) && false", "", ""},
	{"an item outlives a completion that was overruled", "internal/queue/index.go",
		"e.verdict == done && e.present && expired", "e.verdict == done && e.present", "", ""},
	{"items are tried by priority", "internal/queue/entry.go",
		"-cmp.Compare(a.head.Priority, b.head.Priority), ", "", "", ""},
	{"items are tried by age", "internal/queue/entry.go",
		"cmp.Compare(a.stamp, b.stamp), ", "", "", ""},
}

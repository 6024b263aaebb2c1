package mutants

// records are the rules of heartbeats, typed records and subscriptions.
var records = []mutant{
	{"a worker that falls silent is gone", "gossip/heartbeat.go",
		"case p.contact.After(l.until):", "case false:", "./gossip", "TestAWorkerLivesAsLongAsItsHostRenewsItsLease"},
	{"a worker out of sight is not gone", "gossip/heartbeat.go",
		"	case !p.Alive:\n		return Unreachable\n", "	case !p.Alive:\n		return 0\n", "./gossip", "TestWhoIsOutOfSightIsNotGone"},
	{"a host that came back took its workers along", "gossip/heartbeat.go",
		"p == nil || e.replaced(p)", "p == nil", "./gossip", "TestWhoIsOutOfSightIsNotGone"},
	{"only its host says goodbye for a worker", "gossip/heartbeat.go",
		"known && l.host == in.from.Actor", "known && l.host == l.host", "./gossip", "TestAWorkerLivesAsLongAsItsHostRenewsItsLease"},
	{"heartbeats go before bulk", "gossip/heartbeat.go",
		"class := Urgent", "class := Bulk", "./gossip", "TestHeartbeatsAreBounded"},
	{"workers are bounded", "gossip/heartbeat.go",
		"return len(e.leases) < MaxWorkers", "return true", "./gossip", "TestHeartbeatsAreBounded"},
	{"who joins is told of the workers", "gossip/engine.go",
		"old.greetAt = now.Add(greeting)", "", "./gossip", "TestAPeerThatJoinsIsToldOfTheWorkers"},
	{"a goodbye comes first", "agent/agent.go",
		"		a.replica.Engine().Release(now, id)\n", "		_ = id\n", "./agent", "TestAWorkerThatLeavesIsOutBeforeItHasLeft"},
	{"a status lives as long as its worker", "agent/loop.go",
		"	a.renewSigns(now)\n", "", "./agent", "TestAStatusLivesAsLongAsItsWorker"},
	{"a cached value is current", "agent/cache.go",
		"!e.Same(d.entry)", "!e.Same(e)", "./agent", "TestACachedValueIsNeverStale"},
	{"an old state of the queue brings nothing back", "agent/queue.go",
		"if known && !present {", "if known && !present && false {", "./agent", "TestAnOldStateOfTheQueueUndoesNothing"},
	{"every glob is found", "agent/subscriptions.go",
		"for n := range len(segment) + 1 {", "for n := range len(segment) {", "./agent", "TestASubscriptionIsFoundByEveryKeyItMatches"},
}

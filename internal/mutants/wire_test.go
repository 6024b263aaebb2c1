package mutants

// wire are the rules of the transport about who is let in, and what is taken.
var wire = []mutant{
	{"an envelope is taken once", "gossip/transport/envelope.go",
		"if w != nil && !w.window.fresh(counter) {", "if false {", "./gossip/transport", "TestARecorderChangesNothing"},
	{"an envelope is for its receiver", "gossip/transport/envelope.go",
		"append(from[:], to[:]...)", "append(from[:], make([]byte, markBytes)...)", "./gossip/transport", "TestARecorderChangesNothing"},
	{"a window outlasts its keys", "gossip/transport/envelope.go",
		"		clear(w.aeads)\n", "		*w = wayIn{aeads: make(map[keyID]cipher.AEAD)}\n", "./gossip/transport", "TestNoNonceComesTwice"},
	{"a way that is opened anew has other counters", "gossip/transport/envelope.go",
		"last: e.opened << 40", "last: 1 << 40", "./gossip/transport", "TestNoNonceComesTwice"},
	{"strangers share their places", "gossip/transport/mux.go",
		"m.waiting >= maxStrangers || n >= maxEachStranger", "m.waiting >= maxPending", "./gossip/transport", "TestStrangersKeepNobodyOut"},
	{"members have places of their own", "gossip/transport/mux.go",
		"|| !m.lives(from)", "|| true", "./gossip/transport", "TestStrangersKeepNobodyOut"},
	{"a goodbye is for good", "gossip/transport/delegate.go",
		"_, bye := r.byes[n.Name]; bye", "_, bye := r.byes[n.Name]; bye && false", "./gossip/transport", "TestAGoodbyeCountsBeforeAndAfterTheNewsOfIt"},
	{"a goodbye is its sender's", "gossip/transport/receive.go",
		" && l.signed(string(l.body))", "", "./gossip/transport", "TestAGoodbyeIsItsSenders"},
	{"a name stands for who had it first", "agent/locks.go",
		"&& (ids[k.name] == \"\" || before[k.name] == k.ID)", "", "./agent", "TestAVotersNameIsNotTakenFromIt"},
	{"requests for gaps are answered at a bounded rate", "gossip/repair.go",
		"t.given[key] >= answersEach || t.bytes >= answersBytes || ", "", "./gossip", "TestRequestsForGapsAreAnsweredAtABoundedRate"},
	{"heads of strangers are bounded", "gossip/repair.go",
		"if from.aliens >= gapAliens {", "if false {", "./gossip", "TestHeadsOfStrangersMakeFewRequests"},
}

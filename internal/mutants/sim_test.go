package mutants

import (
	"flag"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var record = flag.Bool("record", false, "find and shrink another schedule for each mutant that its schedule does not show any more")

// simulated are the mutants that the simulator must catch, each within 2,000 seeds. The
// shrunk schedule that caught one is kept in sim/testdata/mutants.
var simulated = []mutant{
	{"the order of arrival does not decide a tie", "crdt/history.go",
		"		h.actors[a.actor].actor.Compare(h.actors[b.actor].actor),\n		cmp.Compare(a.seq, b.seq),\n	) > 0", "		0,\n	) >= 0", "", ""},
	{"the clock is restored from disk", "internal/replica/ready.go",
		"	r.engine.Restored(latest)\n	r.hlc.Observe(r.engine.MaxStamp())\n", "	_ = latest\n", "", ""},
	{"stamps are not those of the wall clock", "clock/hlc.go",
		"return max(TimestampAt(now), h.last, h.last+1)", "return TimestampAt(now)", "", ""},
	{"removals are not forgotten by age", "gossip/stable.go",
		"			return c, false\n		}\n		c.peers = append(c.peers, p)\n", "		}\n", "", ""},
	{"a digest covers what was seen", "gossip/digest.go",
		"return d.contextHash() ^ d.store.Sum()*0x9e3779b97f4a7c15", "return d.store.Sum()", "", ""},
	{"a digest covers what is held", "gossip/digest.go",
		"return d.contextHash() ^ d.store.Sum()*0x9e3779b97f4a7c15", "return d.contextHash()", "", ""},
	{"peers compare digests", "gossip/digest.go",
		"	d.sendDigest(now, d.living[d.rng.IntN(len(d.living))])\n", "", "", ""},
	{"writes are pushed", "gossip/push.go",
		"	s.enqueue(now, deltas, urgent)\n", "", "", ""},
	{"a dot is not used again after a restart", "clock/dot.go",
		"return Actor{Birth: uint64(max(now.UnixMilli(), 0)) & maxMillis, Rand: random}", "return Actor{Birth: 1 + 0*uint64(now.UnixMilli()&maxMillis), Rand: random >> 32}", "", ""},
	{"a dot is merged once", "crdt/encoding.go",
		"if st.span.Contains(seq) && n >= 5 {", "if st.span.Contains(seq) && n > 8 {", "", ""},
	{"nothing is acknowledged before it is durable", "sim/peer.go",
		"		life := p.r\n		f := newFate(p.c.cfg.Seed, uint64(p.index), uint64(p.c.now), uint64(len(rd.Journal)))\n",
		"		p.carryOut(rd)\n		rd.Envelopes, rd.Changes = nil, nil\n		life := p.r\n		f := newFate(p.c.cfg.Seed, uint64(p.index), uint64(p.c.now), uint64(len(rd.Journal)))\n", "", ""},
	{"a gap is not taken as seen", "crdt/encoding.go",
		"	s.spanOf(st).Add(seq)\n", "	s.spanOf(st).AddRange(1, seq)\n", "", ""},
	{"outputs do not depend on the order of a map", "gossip/push.go",
		"	slices.SortFunc(s.loaded, func(a, b *peer) int { return a.Actor.Compare(b.Actor) })\n	for _, p := range s.loaded {", "	for _, p := range s.byActor {", "", ""},
	{"the skew is bounded", "crdt/encoding.go",
		"if stamp > limit {", "if stamp > limit && false {", "", ""},
	{"a past names all that its writer overwrote", "crdt/delta.go",
		"	case d.r.pos >= 0 || d.r.pos == dead:\n		return false\n", "	case d.r.pos >= 0:\n		return false\n	case d.r.pos == dead:\n		return true\n", "", ""},
	{"waiters are served in order", "lockservice/queue.go",
		"l.queue[i-1].trial == nil && l.queue[i-1].asked > w.asked {", "l.queue[i-1].trial == nil {", "", ""},
	{"the journal has every record", "crdt/journal.go",
		"	for _, e := range s.journal {\n", "	for _, e := range s.journal[:len(s.journal)/2] {\n", "", ""},
	{"what cannot be read was not seen", "crdt/journal.go",
		"		gap = gap || missing\n", "		gap = missing && false\n", "", ""},
	{"subscribers hear of every change", "crdt/join.go",
		"	ch := s.noteChange(r, cause, ord, local)\n	ch.Old, ch.New = shownValue(cur), shownValue(r)\n", "	if ord != clock.Concurrent {\n		ch := s.noteChange(r, cause, ord, local)\n		ch.Old, ch.New = shownValue(cur), shownValue(r)\n	}\n", "", ""},
	{"a context comes with all records that it covers", "gossip/sync.go",
		"s.writeState(now, w, p, theirs, true)", "s.writeState(now, w, p, theirs, false)", "", ""},
	{"a context is not taken over while a record of it is set aside", "gossip/sync.go",
		"p.quarantined = p.quarantined || in.quarantined", "p.quarantined = false", "", ""},
	{"a sum of retired lives is understood by a peer with the same sum", "clock/summary.go",
		"if p.Sum != 0 && p.Sum != c.sumBeside(s.Listed, after, p.UpTo) {", "if false {", "", ""},
	{"subscribers are notified that they lag", "internal/backlog/queue.go",
		"q.list, q.bytes, q.lagged = nil, 0, true", "q.list, q.bytes, q.lagged = nil, 0, false", "", ""},
	{"a stream carries what packets cannot", "gossip/shared.go",
		"	if class == Packet && !p.path.usable() {\n		class = Urgent\n	}\n", "", "", ""},
	{"packets that do not pass are noticed", "gossip/path.go",
		"		default:\n			s.block(now, p, now.Add(probeAgain))\n", "		default:\n			s.probe(now, p)\n", "", ""},
	{"a packet is taken once", "internal/envelope/opener.go",
		"if w != nil && !w.window.fresh(counter) {", "if false {", "", ""},
	{"a packet is for one receiver", "internal/envelope/envelope.go",
		"	copy(lives[MarkBytes:], to[:])\n", "", "", ""},

	{"a lease takes a majority", "lockservice/voters.go",
		"return len(e.Names)/2 + 1 }", "return max(len(e.Names)/2, 1) }", "", ""},
	{"a voter counts once however often it answers", "lockservice/round.go",
		"		r.acks |= bit\n		o.settle(t, r)\n", "		r.acks |= bit | 1<<bits.OnesCount8(r.acks)\n		o.settle(t, r)\n", "", ""},
	{"an owner does not end a lease of its own accord", "lockservice/round.go",
		"if o.released.has(b.inst) && ", "if ", "", ""},
	{"a lease is not overwritten", "lockservice/acceptor.go",
		"if r.inst != m.Inst && r.mode", "if len(list) == 0 && r.mode", "", ""},
	{"a release is by its holder", "lockservice/acceptor.go",
		"func(r *record) bool { return r.inst == m.Inst })\n	a.keep", "func(r *record) bool { return true })\n	a.keep", "", ""},
	{"a release is of one lease", "lockservice/acceptor.go",
		"func(r *record) bool { return r.inst == m.Inst })\n	a.keep", "func(r *record) bool { return r.inst.Node == m.Inst.Node })\n	a.keep", "", ""},
	{"tokens rise", "lockservice/acceptor.go",
		"if m.Token <= least && m.Flags&flagBearer == 0 {", "if false {", "", ""},
	{"tokens rise after a restart", "lockservice/acceptor.go",
		"base: cfg.State.TokenBound, ", "", "", ""},
	{"a round does not use the token of an earlier one", "lockservice/queue.go",
		"w.trial.token = o.tokens.next(t.Wall)", "w.trial.token = max(t.Wall-uint64((t.Mono-w.asked)/time.Microsecond), o.tokens.last-500_000)", "", ""},
	{"a voter that starts is silent", "lockservice/acceptor.go",
		"left > 0 { // A0", "left > 1<<62 {", "", ""},
	{"a voter that starts is silent for the longest lease", "lockservice/acceptor.go",
		"now + cfg.Quarantine\n", "now + cfg.Quarantine*6/10\n", "", ""},
	{"a lease counts from its request", "lockservice/client.go",
		"deadline := sent.at + r.TTL", "deadline := t.Mono + r.TTL", "", ""},
	{"a lease is not renewed after its end", "lockservice/client.go",
		"	if r.phase == holding && t.Mono >= r.end() { // C2\n", "	if r.phase == holding && false {\n", "", ""},
	{"a lease that runs out is not released before its deadline", "lockservice/client.go",
		"c.depart(t, r, r.deadline, false)", "c.depart(t, r, t.Mono, false)", "", ""},
	{"voters wait longer than a slow clock", "lockservice/acceptor.go",
		"until: t.Mono + stretch(m.TTL, a.cfg.Drift)", "until: t.Mono + m.TTL", "", ""},
	{"a majority is of the voters and not of the live peers", "lockservice/round.go",
		"voters, need := len(o.n.voters.Names), o.n.voters.majority()\n", "voters, need := len(o.n.voters.Names), len(o.n.liveVoters)/2+1\n", "", ""},
	{"a change of voters waits for the one before", "lockservice/voters.go",
		"	if e.Epoch == 1 {\n", "	if e.Epoch >= 1 {\n", "", ""},
	{"one voter changes at a time", "lockservice/voters.go",
		"len(changed) != 1", "len(changed) > 6", "", ""},
	{"a duplicate counts as the highest token too", "lockservice/acceptor.go",
		"	a.raise(m.Lock, m.Token)\n	switch {\n	case own == nil || after(m.Round, own.round): // A3, A5\n", "	switch {\n	case own == nil || after(m.Round, own.round):\n		a.raise(m.Lock, m.Token)\n", "", ""},
	{"leases are renewed together by a majority", "lockservice/bundle.go",
		"bits.OnesCount8(b.acks) >= n.voters.majority()", "bits.OnesCount8(b.acks) >= 1", "", ""},
	{"a client without a lease renews nothing", "lockservice/client.go",
		"	if r == nil || r.phase != holding || t.Mono >= r.end() {\n		return ErrNotHolder", "	if r == nil || r.phase != holding {\n		return ErrNotHolder", "", ""},
	{"a stop releases nothing that bearers hold", "lockservice/client.go",
		"			c.leave(id)\n", "			_ = c.release(t, id)\n", "", ""},
}

// lying are the mutants that only a liar shows.
var lying = []mutant{
	{"checksums cover the contents of records", "crdt/history.go",
		"fold(h.actors[r.actor].hash(r.seq), r.fingerprint())", "h.actors[r.actor].hash(r.seq)", "", ""},
	{"the order of arrival does not decide between two contents", "crdt/rival.go",
		"return share <= s.share(d.r)", "return true", "", ""},
	{"lists tell two contents apart", "gossip/reconcile.go",
		"case share == e.store.Hash(x):", "case true:", "", ""},
	{"a liar is answered at a bounded rate", "gossip/repair.go",
		"t.given[key] >= maxAnswersPerRange || t.bytes >= maxAnswerBytes || ", "", "", ""},
	{"a name is not taken from its voter", "lockservice/names.go",
		"ids[c.Name] == \"\" || before[c.Name] == c.ID", "true", "", ""},
	{"a liar is not believed about writes to come", "gossip/witness.go",
		"			unconfirmed, ok = a, false\n", "			_ = unconfirmed\n", "", ""},
	{"the list of a liar is not believed", "gossip/absence.go",
		"p.dropped+len(dots) <= maxUnconfirmedDrops", "true", "", ""},
	{"who was replaced is not waited for", "gossip/members.go",
		"return up && !p.Alive &&", "return false && up && !p.Alive &&", "", ""},
	{"a liar makes few requests", "gossip/repair.go",
		"from == nil || from.soleGaps >= maxSoleGaps", "from == nil", "", ""},
}

func TestTheSimulatorSeesEveryMutant(t *testing.T) {
	for i, m := range slices.Concat(simulated, queueing, lying) {
		slug := strings.ReplaceAll(m.rule, " ", "-")
		t.Run(slug, func(t *testing.T) {
			root, overlay := broken(t, m)
			if !mine(i) && !*record {
				return
			}
			t.Parallel()
			mode := "-mutant-play="
			if *record {
				mode = "-mutant-record="
			}
			with := "" // a script that can show the mutant contains this text
			switch {
			case strings.HasPrefix(m.file, "lockservice/"):
				with = "locks voters="
			case strings.HasPrefix(m.file, "internal/envelope/"):
				with = " replay "
			case i >= len(simulated)+len(queueing):
				with = " lie "
			case i >= len(simulated):
				with = " enqueue "
			}
			out, err := test(root, overlay, "./sim", "-run=^TestMutant$", "-args",
				mode+filepath.Join(root, "sim", "testdata", "mutants", slug+".txt"), "-mutant-with="+with)
			switch caught := err != nil && strings.Contains(out, "caught by"); {
			case *record && err != nil:
				t.Errorf("%v\n%s", err, out)
			case !*record && !caught:
				t.Errorf("its schedule does not show it any more (make golden records another): %v\n%s", err, out)
			}
		})
	}
}

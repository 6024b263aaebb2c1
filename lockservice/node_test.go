package lockservice

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// wall is the wall time, and so the token, with which these tests begin.
const wall = 1 << 40

func at(d time.Duration) Time {
	return Time{Mono: time.Hour + d, Wall: wall + uint64(d.Microseconds())}
}

func newNode(t testing.TB, self string, voters []string, tune func(*Config)) *Node {
	t.Helper()
	cfg := Config{Self: self, Seed: 1, Voters: Voters{Names: voters}, FirstBoot: true}
	copy(cfg.Boot[:], self+"-boot")
	if tune != nil {
		tune(&cfg)
	}
	n, err := New(cfg, at(0))
	if err != nil {
		t.Fatal(err)
	}
	n.SetLive(at(0), voters)
	return n
}

var abc = []string{"a", "b", "c"}

// ownedBy returns a lock that name owns when all of voters are up.
func ownedBy(name string, voters []string) string {
	for i := range 10_000 {
		lock := fmt.Sprintf("lock-%d", i)
		if ranking(shardOf(lock), voters)[0] == name {
			return lock
		}
	}
	panic("no lock")
}

// packet encodes messages with the version, epoch and hash of n.
func packet(n *Node, list ...Message) []byte {
	b := appendHeader(nil, n.voters.Epoch, n.voters.hash, len(list))
	for i := range list {
		b = appendMessage(b, &list[i])
	}
	return b
}

// sent returns the messages of a kind in the packets that n sends to a peer.
func sent(t testing.TB, rd Ready, to string, kind Kind) (list []Message) {
	t.Helper()
	for _, p := range rd.Packets {
		if p.To != to {
			continue
		}
		_, _, all, err := ReadPacket(p.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range all {
			if m.Kind == kind {
				list = append(list, m)
			}
		}
	}
	return list
}

func receive(t testing.TB, n *Node, when Time, from string, list ...Message) Ready {
	t.Helper()
	if err := n.Receive(when, from, packet(n, list...)); err != nil {
		t.Fatal(err)
	}
	return n.Ready(when)
}

// acquireAt makes a node that owns lock propose for an instance of its own, and
// returns the proposal.
func acquireAt(t testing.TB, n *Node, lock string) (id uint64, accept Message) {
	t.Helper()
	id, err := n.Acquire(at(0), Call{Lock: lock, TTL: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	other := "b"
	if n.cfg.Self == "b" {
		other = "a"
	}
	list := sent(t, n.Ready(at(0)), other, Accept)
	if len(list) != 1 {
		t.Fatalf("%d proposals", len(list))
	}
	return id, list[0]
}

func ackOf(m Message) Message {
	return Message{Kind: Ack, Lock: m.Lock, Inst: m.Inst, Round: m.Round, Token: m.Token, Epoch: m.Epoch}
}

func TestForgedAcksDoNotCount(t *testing.T) {
	for name, forge := range map[string]func(*Message) string{
		"of a peer that is no voter": func(*Message) string { return "z" },
		"of another epoch":           func(m *Message) string { m.Epoch++; return "b" },
		"of another round":           func(m *Message) string { m.Round++; return "b" },
		"of another token":           func(m *Message) string { m.Token++; return "b" },
		"of the owner itself, again": func(*Message) string { return "a" },
	} {
		n := newNode(t, "a", abc, nil)
		_, m := acquireAt(t, n, ownedBy("a", abc))
		ack := ackOf(m)
		from := forge(&ack)
		if rd := receive(t, n, at(0), from, ack); len(rd.Results) != 0 {
			t.Errorf("an ack %s was counted: %+v", name, rd.Results)
		}
		rd := receive(t, n, at(0), "b", ackOf(m))
		if len(rd.Results) != 1 || rd.Results[0].Event != Acquired || rd.Results[0].Deadline != at(time.Second).Mono {
			t.Errorf("the true ack was not: %+v", rd.Results)
		}
	}
}

func TestForgedReleasesHaveNoEffect(t *testing.T) {
	n := newNode(t, "a", abc, nil)
	_, m := acquireAt(t, n, ownedBy("a", abc))
	receive(t, n, at(0), "b", ackOf(m))
	rd := receive(t, n, at(0), "b", Message{Kind: Release, Lock: m.Lock, Inst: m.Inst})
	if len(sent(t, rd, "b", Clear)) != 0 || n.Stats().Dropped != 1 {
		t.Error("a stranger released the lock")
	}
}

func TestAForgedTokenAboveTheBoundOnDiskIsNotAcknowledged(t *testing.T) {
	n := newNode(t, "a", abc, func(c *Config) { c.Durable = true })
	accept := Message{Kind: Accept, Lock: "l", Inst: Inst{"b", [16]byte{1}, 1}, Round: 1, Token: wall, TTL: time.Second, Epoch: 1}
	rd := receive(t, n, at(0), "b", accept)
	if len(sent(t, rd, "b", Ack)) != 0 || rd.Persist == nil || rd.Persist.TokenBound <= wall {
		t.Fatalf("acknowledged before anything was durable: %+v", rd.Persist)
	}
	n.Persisted(*rd.Persist)
	if rd := receive(t, n, at(0), "b", accept); len(sent(t, rd, "b", Ack)) != 1 || rd.Persist != nil {
		t.Error("not acknowledged under the bound")
	}
	accept.Inst.N, accept.Token = 2, rd.Persist.TokenBound+1
	accept.Lock = "m"
	rd = receive(t, n, at(0), "b", accept)
	if len(sent(t, rd, "b", Ack)) != 0 || rd.Persist == nil || rd.Persist.TokenBound <= accept.Token {
		t.Errorf("acknowledged above the bound: %+v", rd.Persist)
	}
	again := newNode(t, "a", abc, func(c *Config) { c.Durable, c.State = true, State{TokenBound: wall + 99} })
	bound := again.Ready(at(0)).Persist
	if bound == nil || bound.TokenBound <= wall+99 {
		t.Fatalf("the next life asks for %+v", bound)
	}
	again.Persisted(*bound)
	accept.Token = wall + 99
	nacks := sent(t, receive(t, again, at(0), "b", accept), "b", Nack)
	if len(nacks) != 1 || nacks[0].Reason != TokenLow || nacks[0].Floor < wall+99 {
		t.Errorf("the next life answers %+v", nacks)
	}
}

func TestAnAcceptorRefusesByName(t *testing.T) {
	accept := func(tune func(*Message)) Message {
		m := Message{Kind: Accept, Lock: "l", Inst: Inst{"b", [16]byte{1}, 1}, Round: 1, Token: wall, TTL: time.Second, Epoch: 1}
		tune(&m)
		return m
	}
	f := func(n *Node, m Message, want Reason) {
		t.Helper()
		list := sent(t, receive(t, n, at(0), "b", m), "b", Nack)
		if len(list) != 1 || list[0].Reason != want {
			t.Errorf("got %+v, want %v", list, want)
		}
	}
	n := newNode(t, "a", abc, func(c *Config) { c.MaxLocks = 1 })
	f(n, accept(func(m *Message) { m.TTL = time.Minute }), TooLong)
	f(n, accept(func(m *Message) { m.TTL = 0 }), TooLong)
	f(n, accept(func(m *Message) { m.Epoch = 0 }), WrongEpoch)
	f(n, accept(func(m *Message) { m.Epoch = 2 }), WrongEpoch)
	receive(t, n, at(0), "b", accept(func(*Message) {}))
	f(n, accept(func(m *Message) { m.Inst.N = 2; m.Token++ }), Held)
	f(n, accept(func(m *Message) { m.Lock = "other" }), Full)
	receive(t, n, at(0), "b", Message{Kind: Clear, Lock: "l", Inst: Inst{"b", [16]byte{1}, 1}})
	f(n, accept(func(m *Message) { m.Inst.N = 2 }), TokenLow)
	f(newNode(t, "a", abc, func(c *Config) { c.FirstBoot = false }), accept(func(*Message) {}), Quarantined)

	other := newNode(t, "a", []string{"a", "b"}, nil)
	if err := other.Receive(at(0), "b", packet(n, accept(func(*Message) {}))); err != nil {
		t.Fatal(err)
	}
	rd := other.Ready(at(0))
	if list := sent(t, rd, "b", Nack); len(list) != 1 || list[0].Reason != WrongConfig || len(rd.Warnings) != 1 {
		t.Errorf("a round of another cluster: %+v, %v", list, rd.Warnings)
	}
}

func TestAShardHasOneOwnerAndKeepsItWhenOthersLeave(t *testing.T) {
	want := map[string]string{"orders": "b", "mail": "a", "jobs/7": "b"}
	voters := []string{"a", "b", "c", "d", "e"}
	moved := 0
	for s := range shards {
		all := ranking(s, voters)
		if less := ranking(s, slices.DeleteFunc(slices.Clone(voters), func(n string) bool { return n == "e" })); less[0] != all[0] && all[0] != "e" {
			t.Errorf("shard %d moved from %s to %s though only e left", s, all[0], less[0])
		}
		if all[0] == "e" {
			moved++
		}
	}
	if moved < shards/12 || moved > shards/2 {
		t.Errorf("e owned %d of %d shards", moved, shards)
	}
	for lock, owner := range want { // part of wire version 1, because all peers must agree
		if got := ranking(shardOf(lock), abc)[0]; got != owner {
			t.Errorf("%q is owned by %s, want %s", lock, got, owner)
		}
	}
}

func TestVotersChangeByOneWhenTheLastChangeHasSettled(t *testing.T) {
	n := newNode(t, "a", abc, nil)
	f := func(when Time, want error, text string, epoch uint64, names ...string) {
		t.Helper()
		err := n.Reload(when, Voters{Epoch: epoch, Names: names})
		if !errors.Is(err, want) || err != nil && !strings.Contains(err.Error(), text) {
			t.Errorf("got %v, want %v: %q", err, want, text)
		}
	}
	f(at(0), nil, "", 1, "c", "b", "a")
	f(at(0), ErrConfigMismatch, "epoch 1", 1, "a", "b")
	f(at(0), ErrReload, "want 2", 3, "a", "b", "c", "d")
	f(at(0), ErrReload, "2 names change (-c, +d)", 2, "a", "b", "d")
	f(at(0), ErrVoters, "named twice", 2, "a", "b", "c", "c")
	f(at(0), ErrVoters, "1 to 7", 2, "a", "b", "c", "d", "e", "f", "g", "h")
	f(at(0), ErrVoters, "0 are named", 2)
	f(at(0), nil, "", 2, "a", "b", "c", "d")
	f(at(0), ErrReload, "1 of its 4", 3, "a", "b", "d")
	n.Tick(at(0))
	if len(sent(t, n.Ready(at(0)), "b", Status)) != 1 {
		t.Error("the others are not asked whether they follow")
	}
	for _, from := range []string{"b", "c"} {
		receive(t, n, at(time.Second), from, Message{Kind: StatusReply, Floor: wall + 12345})
	}
	f(at(time.Second), ErrReload, "may run for another 17.3", 3, "a", "b", "d")
	f(at(19*time.Second), nil, "", 3, "a", "b", "d")
	if got := n.acceptor.floor("any"); got < wall+12345 {
		t.Errorf("the floor is %d: the tokens of voters before are not known", got)
	}
}

func TestWhatIsWrongWithAConfigIsSaidAtOnce(t *testing.T) {
	_, err := New(Config{Voters: Voters{Names: make([]string, 9)}, MaxTTL: time.Millisecond, Drift: -1,
		State: State{Epoch: 4}}, at(0))
	for _, want := range []string{"name \"\"", "Boot is zero", "MaxTTL 1ms", "drift of -1", "9 are named", "epoch 4 already"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

// Two owners may give one round of an instance two tokens. The acceptor's record then has the
// second token, and the acceptor must refuse other instances with tokens between the two.
func TestAnAckThatChangesNothingRaisesTheFloor(t *testing.T) {
	n := newNode(t, "a", abc, nil)
	accept := func(inst, token uint64) Message {
		return Message{Kind: Accept, Lock: "l", Inst: Inst{"b", [16]byte{1}, inst}, Round: 1, Token: token, TTL: time.Second, Epoch: 1}
	}
	for _, token := range []uint64{wall, wall + 20} {
		if len(sent(t, receive(t, n, at(0), "b", accept(1, token)), "b", Ack)) != 1 {
			t.Fatal("not acknowledged")
		}
	}
	receive(t, n, at(0), "b", Message{Kind: Clear, Lock: "l", Inst: accept(1, 0).Inst})
	nacks := sent(t, receive(t, n, at(0), "b", accept(2, wall+10)), "b", Nack)
	if len(nacks) != 1 || nacks[0].Reason != TokenLow || nacks[0].Floor != wall+20 {
		t.Errorf("a token below one acknowledged: %+v", nacks)
	}
}

// A voter with another list or a full table counts as missing. If a majority of voters is like
// that, the call fails at once with an error of its own.
func TestAMinorityThatRefusesForGoodIsOutvoted(t *testing.T) {
	for _, reason := range []Reason{WrongConfig, Full, TooLong} {
		n := newNode(t, "a", abc, nil)
		_, m := acquireAt(t, n, ownedBy("a", abc))
		nack := Message{Kind: Nack, Lock: m.Lock, Inst: m.Inst, Round: m.Round, Token: m.Token, Reason: reason, Left: time.Second}
		if rd := receive(t, n, at(0), "b", nack); len(rd.Results) != 0 {
			t.Errorf("%v by one: %+v", reason, rd.Results)
		}
		if rd := receive(t, n, at(0), "c", ackOf(m)); len(rd.Results) != 1 || rd.Results[0].Event != Acquired {
			t.Errorf("%v by one, an ack by another: %+v", reason, rd.Results)
		}
		n = newNode(t, "a", abc, nil)
		_, m = acquireAt(t, n, ownedBy("a", abc))
		nack.Inst, nack.Token, nack.Lock = m.Inst, m.Token, m.Lock
		receive(t, n, at(0), "b", nack)
		want := map[Reason]error{WrongConfig: ErrConfigMismatch, Full: ErrFull, TooLong: ErrTTLTooLong}[reason]
		nack.Left = time.Millisecond
		rd := receive(t, n, at(0), "c", nack)
		if len(rd.Results) != 1 || rd.Results[0].Event != Refused || !errors.Is(rd.Results[0].Err, want) {
			t.Errorf("%v by two: %+v", reason, rd.Results)
		}
	}
}

func TestAnEpochIsMadeDurableAtOnce(t *testing.T) {
	n := newNode(t, "a", abc, func(c *Config) { c.Durable = true })
	if p := n.Ready(at(0)).Persist; p == nil || p.Epoch != 1 {
		t.Fatalf("%+v", p)
	}
	if err := n.Reload(at(0), Voters{Epoch: 2, Names: []string{"a", "b"}}); err != nil {
		t.Fatal(err)
	}
	if p := n.Ready(at(0)).Persist; p == nil || p.Epoch != 2 {
		t.Errorf("%+v", p)
	}
}

// A token that a voter reports counts only when a restart of this peer cannot forget it (R5).
func TestAdoptionCountsWhenItsTokensAreDurable(t *testing.T) {
	n := newNode(t, "a", abc, func(c *Config) { c.Durable = true })
	if err := n.Reload(at(0), Voters{Epoch: 2, Names: []string{"a", "b"}}); err != nil {
		t.Fatal(err)
	}
	far := Message{Kind: StatusReply, Floor: wall + 60_000_000}
	rd := receive(t, n, at(0), "b", far)
	if n.voters.settled || rd.Persist == nil || rd.Persist.TokenBound <= far.Floor {
		t.Fatalf("settled %t, persist %+v", n.voters.settled, rd.Persist)
	}
	n.Persisted(*rd.Persist)
	if receive(t, n, at(time.Second), "b", far); !n.voters.settled {
		t.Error("never settled")
	}
}

// Another client was granted the lock by other voters, with a token that this voter learns only
// by a change of voters. An instance that is on record here without a grant then needs a
// higher token.
func TestWhatAChangeOfVotersTeachesHoldsForThoseOnRecord(t *testing.T) {
	a := newNode(t, "a", abc, nil).acceptor
	round := func(no, token uint64) Message {
		return a.accept(at(0), &Message{Kind: Accept, Lock: "x", Inst: Inst{Node: "d", N: 1}, Round: no, Token: token, TTL: time.Second, Epoch: 1, Hash: a.hash})
	}
	if got := round(1, wall); got.Kind != Ack {
		t.Fatalf("%+v", got)
	}
	a.raiseAll(wall + 10)
	if got := round(2, wall+9); got.Kind != Nack || got.Reason != TokenLow || got.Floor != wall+10 {
		t.Errorf("a token below what was learned: %+v", got)
	}
	if got := round(2, wall+11); got.Kind != Ack {
		t.Errorf("a token above: %+v", got)
	}
}

// A renewal may arrive after another client has held the lock with a higher token. If the
// acceptor recorded it, the dead lease could be resumed by any peer that knows its instance.
func TestALateRenewalRevivesNoLease(t *testing.T) {
	for what, between := range map[string]func(a *acceptor){
		"":                  func(*acceptor) {},
		"; its floor folds": func(a *acceptor) { a.fold(&a.floors[shardOf("x")]) },
	} {
		a := newNode(t, "a", abc, nil).acceptor
		round := func(when time.Duration, inst, no, token uint64, flags uint8, mode Mode) Reason {
			m := a.accept(at(when), &Message{Kind: Accept, Lock: "x", Inst: Inst{Node: "d", N: inst}, Round: no, Token: token,
				TTL: time.Second, Mode: mode, Flags: flags, Epoch: 1, Hash: a.hash})
			if m.Kind != Ack && m.Reason == NoReason {
				t.Fatalf("%+v", m)
			}
			return m.Reason
		}
		const late = flagRenew | flagBearer
		if round(0, 1, 1, wall, 0, Exclusive) != NoReason || round(4*time.Second, 2, 1, wall+1, 0, Exclusive) != NoReason {
			t.Fatal("the lock was not granted to one after the other")
		}
		if got := round(4*time.Second, 1, 2, wall, late, Exclusive); got != Held {
			t.Errorf("a renewal while another holds the lock: %v", got)
		}
		a.sweep(at(8 * time.Second).Mono)
		between(a)
		for _, flags := range []uint8{late, late | flagResume} {
			if got := round(8*time.Second, 1, 2, wall, flags, Exclusive); got != Gone {
				t.Errorf("a renewal after another held the lock%s: %v", what, got)
			}
		}
		if got := round(8*time.Second, 3, 1, wall+1, late, Exclusive); got != NoReason {
			t.Errorf("a renewal with the highest token: %v", got)
		}
		if got := round(16*time.Second, 4, 2, wall, late, Shared); got != NoReason {
			t.Errorf("a reader's renewal, whose tokens come in any order: %v", got)
		}
	}
}

func TestFoldedFloorsAreNoLower(t *testing.T) {
	n := newNode(t, "a", abc, nil)
	tokens := map[string]uint64{}
	for i := range uint64(4 * shards * foldAt) {
		lock := fmt.Sprint("lock-", i)
		tokens[lock] = wall + i*7919%100_003
		n.acceptor.raise(lock, tokens[lock])
	}
	kept := 0
	for _, f := range n.acceptor.floors {
		kept += len(f.of)
	}
	for lock, token := range tokens {
		if got := n.acceptor.floor(lock); got < token {
			t.Fatalf("the floor of %s fell from %d to %d", lock, token, got)
		}
	}
	if kept > shards*(foldAt+1) {
		t.Errorf("%d floors kept", kept)
	}
}

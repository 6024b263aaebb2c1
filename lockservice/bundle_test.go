package lockservice

import (
	"fmt"
	"testing"
	"time"
)

// bundled returns a voter with the leases 1 to n of the client d in its bundle 1, with tokens from
// wall+1 on, a function that renews the bundle, and the digest of its leases.
func bundled(t *testing.T, n int, tune func(*Config)) (a *acceptor, keep func(d time.Duration, round, sum uint64) Message, sum uint64) {
	t.Helper()
	a = newNode(t, "a", abc, tune).acceptor
	for i := range n {
		inst, token := Inst{Node: "d", N: uint64(i + 1)}, wall+uint64(i+1)
		m := Message{Kind: Accept, Lock: fmt.Sprint("lock-", i+1), Inst: inst, Round: 1, Token: token, TTL: time.Second, Bundle: 1, Epoch: 1, Hash: a.hash}
		if got := a.accept(at(0), &m); got.Kind != Ack {
			t.Fatalf("%+v", got)
		}
		sum += digest(inst, token)
	}
	hash := a.hash
	return a, func(d time.Duration, round, sum uint64) Message {
		return a.renew(at(d), &Message{Kind: Keep, Inst: Inst{Node: "d", N: 1}, Round: round, TTL: time.Second, Digest: sum, Epoch: 1, Hash: hash})
	}, sum
}

func TestAVoterRenewsABundleAsAWholeOrNotAtAll(t *testing.T) {
	barred := ""
	third := digest(Inst{Node: "d", N: 3}, wall+3)
	for what, c := range map[string]struct {
		change func(a *acceptor)
		sum    uint64 // what the client has beyond the leases of the voter
		want   Reason
	}{
		"all are on record":       {func(*acceptor) {}, 0, NoReason},
		"the client has one more": {func(*acceptor) {}, third, Differs},
		"the voter has one more":  {func(a *acceptor) { a.bundle(&record{inst: Inst{Node: "d", N: 3}, token: wall + 3}, 1) }, 0, Differs},
		"one was released":        {func(a *acceptor) { a.clear(at(0), &Message{Lock: "lock-1", Inst: Inst{Node: "d", N: 1}}) }, 0, Differs},
		"all were released": {func(a *acceptor) {
			a.live["lock-1"], a.live["lock-2"] = a.without(a.live["lock-1"], all), a.without(a.live["lock-2"], all)
		}, 0, Gone},
		"one has run out":                 {func(a *acceptor) { a.live["lock-2"][0].until = at(0).Mono }, 0, Differs},
		"one is barred":                   {func(*acceptor) { barred = "lock-2" }, 0, Differs},
		"a higher token may be another's": {func(a *acceptor) { a.raiseAll(wall + 1) }, 0, Differs},
		"the voter is in quarantine":      {func(a *acceptor) { a.quarantineUntil = at(time.Minute).Mono }, 0, Quarantined},
		"the voter has another epoch":     {func(a *acceptor) { a.epoch = 2 }, 0, WrongEpoch},
		"the voter has other voters":      {func(a *acceptor) { a.hash++ }, 0, WrongConfig},
	} {
		barred = ""
		a, keep, sum := bundled(t, 2, func(c *Config) { c.Barred = func(lock string, _ uint64) bool { return lock == barred } })
		c.change(a)
		before := until(a)
		if got := keep(time.Second/2, 1, sum+c.sum); got.Kind != Kept || got.Reason != c.want {
			t.Errorf("%s: answered %+v, want %v", what, got, c.want)
		}
		if extended := until(a) > before; extended != (c.want == NoReason) {
			t.Errorf("%s: extended is %v", what, extended)
		}
	}
}

func all(*record) bool { return true }

// until returns when the record of lock-2 ends.
func until(a *acceptor) time.Duration {
	if list := a.live["lock-2"]; len(list) > 0 {
		return list[0].until
	}
	return 0
}

func TestAnEarlierRoundOfABundleExtendsNothing(t *testing.T) {
	a, keep, sum := bundled(t, 2, nil)
	keep(100*time.Millisecond, 5, sum)
	end := until(a)
	if got := keep(200*time.Millisecond, 5, sum); got.Kind != Kept || got.Reason != NoReason {
		t.Errorf("the latest round again: %+v", got)
	}
	if got := keep(200*time.Millisecond, 4, sum); got.Kind != 0 {
		t.Errorf("an earlier round: %+v", got)
	}
	if until(a) != end {
		t.Error("a repetition extended a lease")
	}
}

// holder returns a node d that holds leases of ten seconds at the voters a, b and c, each renewed
// once, and its bundle.
func holder(t *testing.T, leases int) (*ring, *bundle) {
	t.Helper()
	r := newRing(t, abc, "d")
	for i := range leases {
		if _, err := r.nodes["d"].Acquire(r.now, Call{Lock: fmt.Sprint("lock-", i+1), TTL: 10 * time.Second}); err != nil {
			t.Fatal(err)
		}
	}
	r.run(t, 5*time.Second)
	b := r.nodes["d"].client.bundles.all[1]
	if b == nil || len(b.leases) != min(leases, maxBundle) {
		t.Fatalf("the leases are in no bundle: %+v", b)
	}
	return r, b
}

// A lease that joins while a round of its bundle is on its way was not named by that round at every
// voter: only its own renewal extends it.
func TestARoundOfABundleExtendsNoLeaseThatJoinedLater(t *testing.T) {
	r, b := holder(t, 2)
	bs := &r.nodes["d"].client.bundles
	bs.renew(r.now, b)
	late := b.leases[1]
	bs.part(late)
	bs.join(r.now, late)
	before, other := late.deadline, b.leases[0]
	for _, voter := range abc[:2] {
		bs.kept(r.now, voter, &Message{Kind: Kept, Inst: b.name, Round: b.round, Epoch: 1})
	}
	if other.deadline != r.now.Mono+other.TTL {
		t.Error("the round extended no lease")
	}
	if late.deadline != before {
		t.Error("the round extended a lease that joined after it began")
	}
}

// What a peer says of another's bundle, and what a peer says that is no voter, has no effect.
func TestForgedMessagesOfABundleHaveNoEffect(t *testing.T) {
	r, b := holder(t, 2)
	d := r.nodes["d"]
	d.client.bundles.renew(r.now, b)
	before := b.leases[0].deadline
	receive(t, d, r.now, "a", Message{Kind: Kept, Inst: b.name, Round: b.round, Epoch: 1}, Message{Kind: Kept, Inst: b.name, Round: b.round, Epoch: 1})
	receive(t, d, r.now, "x", Message{Kind: Kept, Inst: b.name, Round: b.round, Epoch: 1})
	receive(t, d, r.now, "b", Message{Kind: Kept, Inst: b.name, Round: b.round - 1, Epoch: 1}, Message{Kind: Kept, Inst: b.name, Round: b.round, Epoch: 2})
	if b.leases[0].deadline != before {
		t.Error("one voter was taken for a majority")
	}
	rd := receive(t, r.nodes["a"], r.now, "b", Message{Kind: Keep, Inst: b.name, Round: b.round, TTL: b.ttl, Digest: b.digest})
	if list := sent(t, rd, "b", Kept); len(list) > 0 {
		t.Errorf("a voter answers to a peer whose bundle it is not: %+v", list)
	}
}

// A voter that starts anew has every lease on record as soon as it is not fresh any more.
func TestAVoterThatForgotABundleGetsItsLeasesBack(t *testing.T) {
	const leases = 1000
	r, _ := holder(t, leases)
	r.nodes["c"] = newNode(t, "c", abc, nil)
	r.nodes["c"].SetLive(r.now, r.names)
	r.run(t, r.nodes["c"].cfg.recall())
	if got := len(r.nodes["c"].acceptor.live); got != leases {
		t.Errorf("the voter has %d of %d leases on record", got, leases)
	}
	before := r.messages()
	r.run(t, 10*time.Second)
	if got := r.messages() - before; got > leases {
		t.Errorf("%d messages in 10 s: the leases are not renewed together again", got)
	}
}

// Releases pass a round of the bundle on its way. The leases that stay are still renewed together.
func TestABundleOutlivesTheReleaseOfSomeLeases(t *testing.T) {
	r, b := holder(t, 200)
	d := r.nodes["d"]
	before := r.messages()
	for range 10 {
		d.client.bundles.renew(r.now, b)
		if err := d.Release(r.now, b.leases[0].id); err != nil {
			t.Fatal(err)
		}
		r.run(t, 4*time.Second)
	}
	if got := r.messages() - before; len(b.leases) != 190 || got > 1000 {
		t.Errorf("%d messages, and %d leases stay together", got, len(b.leases))
	}
}

// The messages of renewals grow with the number of bundles, and no more.
func TestRenewalsOfManyLeasesCostWhatFewDo(t *testing.T) {
	for _, leases := range []int{1, 100, maxBundle, 10_000} {
		r, _ := holder(t, leases)
		before, bytes := r.messages(), r.bytes
		r.run(t, 30*time.Second)
		bundles := (leases + maxBundle - 1) / maxBundle
		got, size := r.messages()-before, r.bytes-bytes
		t.Logf("%d leases: %d messages and %d bytes in 30 s", leases, got, size)
		if got > 120*bundles || size > 12_000*bundles {
			t.Errorf("%d leases in %d bundles: %d messages and %d bytes in 30 s", leases, bundles, got, size)
		}
		for _, call := range r.nodes["d"].client.calls { // the order does not matter
			if left := call.deadline - r.now.Mono; left < 5*time.Second {
				t.Fatalf("%s lasts for %v only", call.Lock, left)
			}
		}
	}
}

// Leases that come and go leave no bundle behind, and bundles with room are filled first.
func TestBundlesAreAsFewAsTheLeasesNeed(t *testing.T) {
	r, _ := holder(t, 600)
	d := r.nodes["d"]
	for range 20 {
		for i, id := range sortedKeys(d.client.calls) {
			if i%3 == 0 {
				if err := d.Release(r.now, id); err != nil {
					t.Fatal(err)
				}
			}
		}
		for i := range 600 - len(d.client.calls) {
			if _, err := d.Acquire(r.now, Call{Lock: fmt.Sprint("lock-", r.now.Mono, i), TTL: 10 * time.Second}); err != nil {
				t.Fatal(err)
			}
		}
		r.run(t, 5*time.Second)
	}
	if got := len(d.client.bundles.all); got != 3 {
		t.Errorf("%d bundles for 600 leases, want 3", got)
	}
	for _, id := range sortedKeys(d.client.calls) {
		if err := d.Release(r.now, id); err != nil {
			t.Fatal(err)
		}
	}
	r.run(t, time.Second)
	if len(d.client.bundles.all)+len(d.client.bundles.filling)+len(r.nodes["a"].acceptor.sets) > 0 {
		t.Errorf("empty bundles are left: %d, %d, %d", len(d.client.bundles.all), len(d.client.bundles.filling), len(r.nodes["a"].acceptor.sets))
	}
}

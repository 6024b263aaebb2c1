package lockservice

import (
	"math/bits"
	"slices"
	"time"
)

// bundle is a set of leases with one TTL that their client renews together (C3). A lease gets into
// the bundle at the voters by a renewal of its own that names the bundle. From then on one
// message to each voter renews all leases of the bundle: it names them by a digest, and a
// voter certifies them only if it has exactly these on record (A11).
type bundle struct {
	name    Inst // Node and Boot of the client, and the number of the bundle
	ttl     time.Duration
	leases  []*request
	named   int           // leases whose renewals name this bundle: those in it, and those on their way
	digest  uint64        // sum of the digests of leases
	round   uint64        // number of the present round
	epoch   uint64        // epoch of the present round
	sent    time.Duration // when the present round was sent first
	acks    uint8         // voters that have certified the present round, by the bit of their index
	doubted uint64        // the round in which a voter had another set; 0 if none has since the last good round
	tries   int           // how often the present round was sent
	next    time.Duration // when the next round begins
	alarm   alarm
}

// membership is what a request knows of its bundle.
type membership struct {
	bundle   *bundle // the bundle that its renewals name; nil for a bearer's lease and before the first renewal
	joined   bool    // the lease is in bundle
	slot     int     // if it is: its index in the leases of bundle
	since    uint64  // if it is: the round of the bundle when the lease joined
	recorded uint64  // token that the latest renewal put on record; 0 before the first that names bundle
}

// bundles are the bundles of one client.
type bundles struct {
	n       *Node
	all     map[uint64]*bundle          // by number
	filling map[time.Duration][]*bundle // by TTL: the bundles that have room; the last takes the next lease
	last    uint64                      // number of the latest bundle
}

func newBundles(n *Node) bundles {
	return bundles{n: n, all: make(map[uint64]*bundle), filling: make(map[time.Duration][]*bundle)}
}

// maxBundle is the greatest number of leases in a bundle. If the set of one voter differs, all of
// them are renewed one by one.
const maxBundle = 256

// assign gives a lease the bundle that its next renewal names.
func (bs *bundles) assign(r *request) {
	list := bs.filling[r.TTL]
	if len(list) == 0 {
		bs.last++
		b := &bundle{name: Inst{Node: bs.n.cfg.Self, Boot: bs.n.cfg.Boot, N: bs.last}, ttl: r.TTL}
		b.alarm.run = func(t Time) { bs.wake(t, b) }
		bs.all[b.name.N], list = b, []*bundle{b}
	}
	b := list[len(list)-1]
	if b.named++; b.named == maxBundle {
		list = list[:len(list)-1]
	}
	r.bundle, bs.filling[r.TTL] = b, list
}

// join puts a lease into its bundle, since a majority has certified a renewal that names the bundle.
// The present round of the bundle does not extend it.
func (bs *bundles) join(t Time, r *request) {
	b := r.bundle
	if r.recorded == 0 || b == nil || r.joined {
		return
	}
	r.joined, r.slot, r.since = true, len(b.leases), b.round
	b.leases = append(b.leases, r)
	b.digest += digest(r.inst, r.recorded)
	if b.alarm.pos == 0 {
		b.next = bs.n.client.nextRound(t, b.ttl)
		bs.n.alarms.set(&b.alarm, b.next)
	}
}

// part takes a lease out of its bundle.
func (bs *bundles) part(r *request) {
	if !r.joined {
		return
	}
	b, last := r.bundle, len(r.bundle.leases)-1
	b.leases[r.slot] = b.leases[last]
	b.leases[r.slot].slot = r.slot
	b.leases[last] = nil
	b.leases = b.leases[:last]
	b.digest -= digest(r.inst, r.recorded)
	if r.joined = false; last == 0 {
		bs.n.alarms.stop(&b.alarm)
	}
}

// leave takes a lease out of its bundle for good. A bundle with room takes the next leases.
func (bs *bundles) leave(r *request) {
	b := r.bundle
	if b == nil {
		return
	}
	bs.part(r)
	r.bundle = nil
	list := bs.filling[b.ttl]
	if b.named == maxBundle {
		list = append(list, b)
	}
	if b.named--; b.named == 0 {
		delete(bs.all, b.name.N)
		list = slices.DeleteFunc(list, func(o *bundle) bool { return o == b })
	}
	if bs.filling[b.ttl] = list; len(list) == 0 {
		delete(bs.filling, b.ttl)
	}
}

func (bs *bundles) wake(t Time, b *bundle) {
	switch {
	case t.Mono >= b.next:
		bs.renew(t, b)
	case b.certified(bs.n):
		bs.n.alarms.set(&b.alarm, b.next)
	default:
		bs.post(t, b)
	}
}

func (b *bundle) certified(n *Node) bool { return bits.OnesCount8(b.acks) >= n.voters.majority() }

// renew begins a round for all leases of a bundle, from which a grant will count (C1).
func (bs *bundles) renew(t Time, b *bundle) {
	if b.doubted != b.round {
		b.doubted = 0
	}
	b.round++
	b.epoch, b.sent, b.acks, b.tries = bs.n.voters.Epoch, t.Mono, 0, 0
	b.next = bs.n.client.nextRound(t, b.ttl)
	bs.post(t, b)
}

// post sends the present round to the voters that have not certified it.
func (bs *bundles) post(t Time, b *bundle) {
	for i, name := range bs.n.voters.Names {
		if b.acks&(1<<i) == 0 {
			bs.n.send(name, Message{Kind: Keep, Inst: b.name, Round: b.round, TTL: b.ttl, Digest: b.digest})
		}
	}
	bs.n.alarms.set(&b.alarm, min(b.next, t.Mono+bs.n.retry(b.tries)))
	b.tries++
}

// kept handles the answer of a voter to a round of a bundle. A majority of distinct voters of one
// epoch that has certified the round extends the leases (C7).
func (bs *bundles) kept(t Time, from string, m *Message) {
	b, i := bs.all[m.Inst.N], bs.n.voters.index(from)
	if b == nil || b.name != m.Inst || i < 0 || m.Round != b.round || m.Epoch != b.epoch || b.epoch != bs.n.voters.Epoch {
		bs.n.stats.Dropped++
		return
	}
	switch {
	case m.Reason == NoReason:
		before := b.certified(bs.n)
		b.acks |= 1 << i
		if !before && b.certified(bs.n) {
			bs.extend(t, b)
		}
	case m.Reason == Differs && (b.doubted == 0 || b.doubted == b.round): // a message may be on its way
		b.doubted = b.round
		b.next = min(b.next, t.Mono+bs.n.retry(0))
		bs.n.alarms.by(&b.alarm, b.next)
	case m.Reason == Differs || m.Reason == Gone:
		bs.dissolve(t, b)
	}
}

// extend extends the leases that were in the bundle when its round began.
func (bs *bundles) extend(t Time, b *bundle) {
	deadline := b.sent + b.ttl
	for _, r := range slices.Backward(b.leases) { // a lease that ends gives its place to the last one
		switch {
		case t.Mono >= r.end(): // C2
			bs.n.client.expire(t, r)
		case r.since < b.round && deadline > r.deadline: // C7
			r.deadline = deadline
			bs.n.report(Result{ID: r.id, Event: Extended, Token: r.token, End: r.end(), Deadline: r.deadline})
		}
	}
}

// dissolve has every lease of a bundle renewed by a message of its own, so that it gets on record,
// and into the bundle, at every voter.
func (bs *bundles) dissolve(t Time, b *bundle) {
	for _, r := range slices.Clone(b.leases) {
		bs.part(r)
		bs.n.client.newRound(t, r)
	}
}

// renewAll begins a round of every bundle, since the voters have changed.
func (bs *bundles) renewAll(t Time) {
	for _, number := range sortedKeys(bs.all) {
		if b := bs.all[number]; len(b.leases) > 0 {
			bs.renew(t, b)
		}
	}
}

// nextRound returns when the round after one that begins now is to begin (C3). Times are rounded to
// multiples of step, so that rounds of many leases share packets.
func (c *client) nextRound(t Time, ttl time.Duration) time.Duration {
	step := min(ttl/60, 50*time.Millisecond)
	next := t.Mono + ttl/3 - time.Duration(c.n.rng.Int64N(int64(ttl/12)))
	return next - next%step + step
}

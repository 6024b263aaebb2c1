package replica

import (
	"bytes"
	"container/heap"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/gossip"
	"github.com/sentinel-peer/sentinel-peer/internal/keyspace"
)

// world is a few replicas on a simulated network in virtual time, which a seed determines.
type world struct {
	t     testing.TB
	rng   *rand.Rand
	now   time.Time
	peers []*Replica
	queue eventHeap
	n     int
	loss  float64
	cut   func(from, to int) bool
	mute  func(from, to int) bool // whether packets from one peer to another are lost, while streams work
	ahead time.Duration           // by how much the clock of peer 0 is ahead
	far   time.Duration           // delay of each way in addition to one millisecond
	rate  int                     // bytes per second of a stream between two peers; 0 for no limit
	busy  map[[2]int]time.Time

	journal [][]byte // entries of peer 0's journal so far
	bytes   int
	sent    int
}

type event struct {
	at       time.Time
	n        int
	from, to int // sender and receiver; from < 0 for a tick of the peer to
	frame    []byte
}

type eventHeap []event

func (h eventHeap) Len() int      { return len(h) }
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h eventHeap) Less(i, j int) bool {
	if !h[i].at.Equal(h[j].at) {
		return h[i].at.Before(h[j].at)
	}
	return h[i].n < h[j].n
}
func (h *eventHeap) Push(x any) { *h = append(*h, x.(event)) }
func (h *eventHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	*h = old[:len(old)-1]
	return e
}

var epoch = time.UnixMilli(1_700_000_000_000)

func newWorld(t testing.TB, n int, seed uint64, tune func(*Config)) *world {
	w := &world{t: t, busy: map[[2]int]time.Time{}, rng: rand.New(rand.NewPCG(seed, 7)), now: epoch}
	rules, err := crdt.NewRules(keyspace.Rules(nil)...)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		cfg := Config{Name: fmt.Sprintf("n%d", i), Rules: rules, Gossip: gossip.Config{
			Self: clock.Actor{Birth: 1, Rand: uint64(i + 1)}, Cluster: "test", Seed: seed, BatchInterval: gossip.AtOnce,
		}, NewActor: func(now time.Time) clock.Actor { return clock.NewActor(now, seed+99) }}
		if tune != nil {
			tune(&cfg)
		}
		w.peers = append(w.peers, New(epoch, cfg))
	}
	w.view()
	return w
}

// clock returns the reading of peer i's clock.
func (w *world) clock(i int) time.Time {
	if i == 0 {
		return w.now.Add(w.ahead)
	}
	return w.now
}

func (w *world) view() {
	var all []gossip.Peer
	for i, p := range w.peers {
		all = append(all, gossip.Peer{Actor: p.Actor(), Name: fmt.Sprintf("n%d", i), Alive: true})
	}
	for i, p := range w.peers {
		p.SetMembers(w.clock(i), all)
		w.carry(i)
	}
}

// carry takes a replica's Ready, sends its envelopes and schedules its next tick.
func (w *world) carry(i int) {
	rd := w.peers[i].Ready()
	if i == 0 && len(rd.Journal) > 0 {
		w.journal = append(w.journal, rd.Journal)
	}
	for _, e := range rd.Envelopes {
		w.bytes += len(e.Frame)
		w.sent++
		to := -1
		for j, p := range w.peers {
			if p.Actor() == e.To {
				to = j
			}
		}
		lost := e.Class == gossip.Packet && (w.rng.Float64() < w.loss || w.mute != nil && w.mute(i, to))
		if to < 0 || lost || w.cut != nil && w.cut(i, to) {
			continue
		}
		at := w.now.Add(time.Millisecond + time.Duration(w.rng.IntN(1000))*time.Microsecond + w.far)
		if w.rate > 0 && e.Class != gossip.Packet {
			line := [2]int{i, to}
			at = later(w.busy[line], w.now).Add(time.Duration(len(e.Frame)) * time.Second / time.Duration(w.rate))
			w.busy[line] = at
		}
		w.push(event{at: at, from: i, to: to, frame: e.Frame})
	}
	if at := w.peers[i].Deadline(); !at.IsZero() {
		at = at.Add(w.now.Sub(w.clock(i)))
		if at.Before(w.now) {
			at = w.now
		}
		w.push(event{at: at, from: -1, to: i})
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (w *world) push(e event) {
	w.n++
	e.n = w.n
	heap.Push(&w.queue, e)
}

func (w *world) run(d time.Duration) {
	until := w.now.Add(d)
	spins := 0 // ticks in a row at the same time
	for len(w.queue) > 0 && !w.queue[0].at.After(until) {
		e := heap.Pop(&w.queue).(event)
		if spins++; w.now.Before(e.at) {
			spins = 0
		}
		if spins > 100000 {
			w.t.Fatalf("time stands still at %v, deadline of %d is %v", w.now, e.to, w.peers[e.to].Deadline())
		}
		w.now = e.at
		p, now := w.peers[e.to], w.clock(e.to)
		if e.from < 0 {
			if p.Deadline().After(now) {
				continue
			}
			p.Tick(now)
		} else {
			if err := p.Receive(now, e.frame); err != nil {
				w.t.Fatalf("receive: %v", err)
			}
			clear(e.frame) // the receiver must not keep the frame
		}
		w.carry(e.to)
	}
	w.now = until
}

func (w *world) put(i int, key string, v any) {
	w.t.Helper()
	val, err := crdt.ValueOf(v)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.peers[i].Write(w.clock(i), false, crdt.Op{Verb: crdt.Put, Key: key, Value: val}); err != nil {
		w.t.Fatal(err)
	}
	w.carry(i)
}

func (w *world) agree() bool {
	first := w.peers[0]
	state := first.Store().AppendState(nil)
	for _, p := range w.peers[1:] {
		if !p.Store().Context().Equal(first.Store().Context()) || !bytes.Equal(p.Store().AppendState(nil), state) {
			return false
		}
	}
	return true
}

func TestAWriteReachesEveryPeerByPushAlone(t *testing.T) {
	for _, n := range []int{2, 3, 9, 10, 50} {
		w := newWorld(t, n, 1, func(c *Config) { c.Gossip.DigestInterval, c.Gossip.DigestMax = time.Hour, time.Hour })
		w.put(0, "color", "red")
		w.run(20 * time.Millisecond)
		if !w.agree() || w.peers[n-1].Store().Len() != 1 {
			t.Errorf("%d peers: not everywhere after 20 ms", n)
		}
	}
}

func TestPeersAgreeDespiteLoss(t *testing.T) {
	for seed := range uint64(20) {
		for _, n := range []int{3, 12} {
			w := newWorld(t, n, seed, nil)
			w.loss = 0.3
			for i := range 60 {
				w.put(w.rng.IntN(n), fmt.Sprintf("k%d", w.rng.IntN(8)), i)
				w.run(time.Duration(w.rng.IntN(5)) * time.Millisecond)
			}
			w.run(8 * time.Second)
			if !w.agree() {
				t.Errorf("seed %d, %d peers: differ", seed, n)
			}
		}
	}
}

// A sync over a slow path takes as long as its bytes need: no answer is sent twice because the
// first one was late.
func TestASyncOverASlowPathSendsItsStateOnce(t *testing.T) {
	for _, rate := range []int{10_000_000, 250_000, 50_000} {
		w := newWorld(t, 2, 4, nil)
		w.cut = func(from, to int) bool { return true }
		noise := make([]byte, 200)
		for i := range 5_000 {
			for j := range noise {
				noise[j] = byte(w.rng.Uint32())
			}
			w.put(0, fmt.Sprint("key-", i), bytes.Clone(noise))
			if i%10 == 9 { // the dot is known to exist and its record is lost
				w.put(0, fmt.Sprint("key-", i-w.rng.IntN(min(i, 2000))), i)
			}
			if i%500 == 0 {
				w.run(time.Millisecond)
			}
		}
		w.run(time.Second)
		w.cut, w.rate, w.bytes = nil, rate, 0
		began := w.now
		for w.now.Sub(began) < 10*time.Minute && !w.agree() {
			w.run(500 * time.Millisecond)
		}
		const state = 1_200_000 // bytes
		if took, least := w.now.Sub(began), state*time.Second/time.Duration(rate); !w.agree() || w.bytes > 3*state || took > 3*least+3*time.Second {
			t.Errorf("%d B/s: agreed %v after %v of at least %v, %d B sent, %d requests",
				rate, w.agree(), took, least, w.bytes, w.peers[1].View().Stats().SyncRequests)
		}
	}
}

func TestACutHealsAndBothSidesWritesSurvive(t *testing.T) {
	w := newWorld(t, 4, 3, nil)
	w.put(0, "before", 1)
	w.run(time.Second)
	w.cut = func(from, to int) bool { return (from < 2) != (to < 2) }
	for i := range 200 {
		w.put(i%4, fmt.Sprintf("k%d-%d", i%4/2, i), i)
		w.run(time.Millisecond)
	}
	w.run(30 * time.Second)
	if w.agree() {
		t.Fatal("the cut did not cut")
	}
	w.cut = nil
	w.run(10 * time.Second)
	if !w.agree() || w.peers[3].Store().Len() != 201 {
		t.Fatalf("not healed: %d keys", w.peers[3].Store().Len())
	}
}

func TestAnEmptyPeerFillsUpFromOthers(t *testing.T) {
	w := newWorld(t, 3, 4, nil)
	w.cut = func(from, to int) bool { return from == 2 || to == 2 }
	for i := range 20000 {
		w.put(0, fmt.Sprintf("key-%d", i), "some value of a usual length, so that it takes several answers")
		if i%500 == 0 {
			w.run(time.Millisecond)
		}
	}
	w.run(time.Second)
	w.cut = nil
	w.run(6 * time.Second)
	if !w.agree() {
		t.Fatalf("the empty peer has %d of 20000 keys", w.peers[2].Store().Len())
	}
}

// During a sync, overwritten dots are missing at the receiver. However many they are and
// however often the connection breaks, the sync ends, and records that have arrived are not
// sent again.
func TestAnEmptyPeerFillsUpThoughMuchWasOverwritten(t *testing.T) {
	w := newWorld(t, 2, 4, nil)
	w.cut = func(from, to int) bool { return true }
	keys := 30_000
	if testing.Short() {
		keys = 15_000
	}
	noise := make([]byte, 200) // does not compress
	for i := range keys {
		w.rng = rand.New(rand.NewPCG(uint64(i), 1))
		for j := range noise {
			noise[j] = byte(w.rng.Uint32())
		}
		w.put(0, fmt.Sprint("key-", i), bytes.Clone(noise))
		if i%10 == 9 {
			w.put(0, fmt.Sprint("key-", i-w.rng.IntN(min(i, 2000))), i)
		}
		if i%500 == 0 {
			w.run(time.Millisecond)
		}
	}
	w.run(time.Second)
	w.bytes = 0
	for range 8 {
		w.cut = nil
		w.run(15 * time.Millisecond)
		w.cut = func(from, to int) bool { return true }
		w.run(300 * time.Millisecond)
	}
	w.cut = nil
	w.run(20 * time.Second)
	if !w.agree() {
		t.Fatalf("the empty peer has %d of %d keys", w.peers[1].Store().Len(), keys)
	}
	if most := w.peers[0].Store().LiveBytes() * 5 / 4; w.bytes > most {
		t.Errorf("%d bytes were sent for %d that live", w.bytes, w.peers[0].Store().LiveBytes())
	}
}

// Writes from too far in the future are not merged. They cost little while they wait, however
// many they are, and do not delay other writes.
func TestWritesFromTheFutureCostLittleUntilTheirTime(t *testing.T) {
	w := newWorld(t, 3, 4, nil)
	w.ahead = time.Hour
	w.cut = func(from, to int) bool { return from == 0 || to == 0 }
	for i := range 2500 {
		w.put(0, fmt.Sprint("key-", i), strings.Repeat(fmt.Sprint(i, " "), 60))
		if i%100 == 0 {
			w.run(time.Millisecond)
		}
	}
	w.put(1, "present", 1)
	w.run(2 * time.Second)
	w.cut, w.bytes = nil, 0
	w.run(time.Minute)
	if _, ok := w.peers[0].Store().Render("present", millis(w.now)); !ok {
		t.Error("a write of the present did not reach the peer that is ahead")
	}
	if n := w.peers[1].Store().Len(); n != 1 {
		t.Errorf("%d keys of the future were merged", n-1)
	}
	if perSecond := w.bytes / 60; perSecond > 100_000 {
		t.Errorf("while they wait, %d bytes a second are sent", perSecond)
	}
	w.now = w.now.Add(59 * time.Minute)
	for i := range w.peers {
		w.carry(i)
	}
	w.run(time.Minute)
	if n := w.peers[1].Store().Len(); n != 2501 {
		t.Errorf("in their time %d of 2501 keys are there", n)
	}
}

// Acknowledgements of the former actor do not count for the writes of the new one.
func TestANewActorHasNoAcknowledgements(t *testing.T) {
	w := newWorld(t, 2, 1, nil)
	acknowledged := func() int {
		w.peers[0].RequestAcks(w.now)
		w.carry(0)
		w.run(time.Second)
		n, _ := w.peers[0].View().Replicas(w.peers[0].Store().Last())
		return n
	}
	for i := range 100 {
		w.put(0, fmt.Sprint("k", i), i)
	}
	if n := acknowledged(); n != 1 {
		t.Fatalf("%d peers have acknowledged, want 1", n)
	}
	w.peers[0].rotate(w.now)
	w.view()
	w.cut = func(from, to int) bool { return true }
	w.put(0, "fresh", 1)
	if n := acknowledged(); n != 0 {
		t.Errorf("%d peers have acknowledged what nobody has seen", n)
	}
	w.cut = nil
	if n := acknowledged(); n != 1 {
		t.Errorf("then %d peers have acknowledged, want 1", n)
	}
}

func TestADroppedRecordIsFoundByItsChecksum(t *testing.T) {
	w := newWorld(t, 3, 5, nil)
	for i := range 2500 {
		w.put(i%3, fmt.Sprintf("key-%d", i), i)
	}
	w.run(10 * time.Second)
	if !w.agree() {
		t.Fatal("not settled")
	}
	e, _ := w.peers[1].Store().Render("key-77", 0)
	w.peers[1].Store().Drop(e.Dot(), clock.Actor{}, 0)
	w.put(0, "more", 1)
	w.run(40 * time.Second)
	if !w.agree() {
		t.Fatal("replicas still differ")
	}
}

func TestRemovalsAreForgottenWhenAllHaveSeenThem(t *testing.T) {
	w := newWorld(t, 3, 6, nil)
	for i := range 50 {
		w.put(0, fmt.Sprintf("k%d", i), i)
	}
	w.run(time.Second)
	for i := range 50 {
		if _, err := w.peers[1].Write(w.now, false, crdt.Op{Verb: crdt.Delete, Key: fmt.Sprintf("k%d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	w.carry(1)
	w.run(2 * time.Minute)
	for i, p := range w.peers {
		if n := p.Store().Stats().Removals; n != 0 {
			t.Errorf("peer %d still holds %d removals", i, n)
		}
	}
}

// A write that only its dead writer had leaves a missing dot. Peers ask for it less and less.
func TestAHoleThatNobodyCanFillCostsLittle(t *testing.T) {
	w := newWorld(t, 3, 1, nil)
	w.run(time.Second)
	for i := range 10 {
		if i == 4 {
			w.cut = func(from, to int) bool { return from == 0 }
		}
		w.put(0, fmt.Sprint("k", i), i)
		w.run(2 * time.Millisecond)
		w.cut = nil
	}
	w.cut = func(from, to int) bool { return from == 0 || to == 0 }
	w.run(10 * time.Minute)
	before := w.peers[1].View().Stats().GapRequests
	w.run(10 * time.Minute)
	if n := w.peers[1].View().Stats().GapRequests - before; n == 0 || n > 11 {
		t.Errorf("in ten minutes it was asked for %d times, want about once a minute", n)
	}
	w.cut = nil
	w.run(2 * time.Minute)
	if !w.agree() {
		t.Error("its writer came back, and the hole stayed")
	}
}

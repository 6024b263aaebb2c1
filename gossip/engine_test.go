package gossip

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

func put(t testing.TB, key string, v any) crdt.Op {
	return crdt.Op{Verb: crdt.Put, Key: key, Value: value(t, v)}
}

// cluster is n engines that know each other.
func cluster(n int) []*machine {
	var peers []Peer
	for i := range n {
		peers = append(peers, Peer{Actor: clock.Actor{Birth: 1, Rand: uint64(i + 1)}, Name: fmt.Sprint("n", i), Alive: true})
	}
	var list []*machine
	for _, p := range peers {
		m := newMachine(p.Actor, func(c *Config) { c.DigestInterval, c.DigestMax = time.Hour, time.Hour })
		m.SetView(t0, peers)
		m.trust()
		m.Tick(t0)
		m.Envelopes()
		list = append(list, m)
	}
	return list
}

// Every member gets a write once, over a tree of three children each.
func TestTheTreeReachesEveryMemberOnce(t *testing.T) {
	for _, n := range []int{9, 10, 50, 200} {
		list := cluster(n)
		byActor := map[clock.Actor]*machine{}
		for _, m := range list {
			byActor[m.cfg.Self] = m
		}
		queue := list[3].write(t, t0, put(t, "k", strings.Repeat("v", 200)))
		frames, widest := 0, len(queue)
		for len(queue) > 0 {
			e := queue[0]
			queue = queue[1:]
			frames++
			m := byActor[e.To]
			if err := m.Receive(t0, e.Frame); err != nil {
				t.Fatal(err)
			}
			m.Flush(t0)
			next := m.Envelopes()
			widest = max(widest, len(next))
			queue = append(queue, next...)
		}
		for i, m := range list {
			if m.store.Len() != 1 {
				t.Fatalf("%d members: %d was not reached", n, i)
			}
		}
		if frames != n-1 {
			t.Errorf("%d members: %d frames, want %d", n, frames, n-1)
		}
		if n > 9 && widest > 3 {
			t.Errorf("%d members: one told %d", n, widest)
		}
	}
}

func TestMetadataStaysSmall(t *testing.T) {
	a := newMachine(ann, nil)
	v := strings.Repeat("v", 200)
	key := "task-sentinel/tasks/0001/status"
	frame := a.write(t, t0, put(t, key, v))[0].Frame
	if meta := len(frame) - len(key) - len(v); meta > 60 {
		t.Errorf("a write alone carries %d bytes of metadata, want at most 60", meta)
	}
	var ops []crdt.Op
	content := 0
	for i := range 100 {
		k := fmt.Sprintf("task-sentinel/tasks/%04d/status", i)
		noise := fmt.Sprintf("%x", mix(ann, clock.Actor{Rand: uint64(i)})) // no compression to hide behind
		ops = append(ops, put(t, k, noise))
		content += len(noise)
	}
	before := a.stats.BytesSent
	a.write(t, t0, ops...)
	if per := (int(a.stats.BytesSent-before) - content) / 100; per > 24 {
		t.Errorf("a write among a hundred carries %d bytes beside its value, want at most 24", per)
	}
}

func TestAWriteThatWasReplacedIsNotSent(t *testing.T) {
	a := newMachine(ann, func(c *Config) { c.BatchInterval = 100 * time.Millisecond })
	for i := range 100 {
		ds, err := a.store.Apply(a.hlc.Now(t0), 0, put(t, "hot", strings.Repeat(fmt.Sprint(i%10), 500)))
		if err != nil {
			t.Fatal(err)
		}
		a.Push(t0, ds, false)
	}
	if out := a.Envelopes(); len(out) != 0 {
		t.Fatalf("%d frames before the batch interval", len(out))
	}
	a.Tick(t0.Add(100 * time.Millisecond))
	out := a.Envelopes()
	b := newMachine(bob, nil)
	if err := b.Receive(t0, out[0].Frame); err != nil {
		t.Fatal(err)
	}
	if len(out[0].Frame) > 700 {
		t.Errorf("%d bytes for one surviving write", len(out[0].Frame))
	}
	if !b.store.Context().Contains(clock.Dot{Actor: ann, Seq: 1}) || b.store.Sum() != a.store.Sum() {
		t.Error("the replaced writes do not count as seen")
	}
}

func TestAPeerThatTakesNothingCostsABoundedQueue(t *testing.T) {
	a := newMachine(ann, func(c *Config) { c.QueueBytes = 1 << 20 })
	a.Window(bob, 0)
	for i := range 10_000 {
		a.write(t, t0, put(t, fmt.Sprint("key-", i), strings.Repeat("v", 1000)))
		if q := a.Stats().QueuedBytes; q > 1<<20+2000 {
			t.Fatalf("%d bytes wait", q)
		}
	}
	if !a.Peers()[0].Behind {
		t.Fatal("the peer is not marked as behind")
	}
	b := newMachine(bob, nil)
	for range 100 { // it catches up by asking
		b.sendSyncRequest(t0, b.peers[0])
		request := pick(t, b.Envelopes(), secSyncRequest)
		if err := a.Receive(t0, request); err != nil {
			t.Fatal(err)
		}
		for _, e := range a.Envelopes() {
			if err := b.Receive(t0, e.Frame); err != nil {
				t.Fatal(err)
			}
		}
		b.Envelopes()
		if b.store.Sum() == a.store.Sum() {
			break
		}
	}
	if b.store.Len() != 10_000 || a.Peers()[0].Behind {
		t.Fatalf("%d of 10000 keys, behind: %t", b.store.Len(), a.Peers()[0].Behind)
	}
}

// Under load answers take longer than a digest, or than a request waits for them.
// There is one sync all the same: no answer is followed twice.
func TestASlowSyncStaysOne(t *testing.T) {
	a, b := newMachine(ann, nil), newMachine(bob, nil)
	for i := range 20_000 {
		a.write(t, t0, put(t, fmt.Sprint("key-", i), strings.Repeat("v", 200)))
	}
	now := t0
	var late [][]byte // frames under way to b
	for round := 0; b.store.Sum() != a.store.Sum(); round++ {
		if round == 100 {
			t.Fatalf("%d of 20000 keys after %d rounds", b.store.Len(), round)
		}
		for range 5 {
			now = now.Add(300 * time.Millisecond)
			a.Tick(now)
			a.sendDigest(now, a.peers[0])
			late = append(late, frames(a.Envelopes())...)
			b.Tick(now)
			for _, f := range frames(b.Envelopes()) {
				if err := a.Receive(now, f); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, f := range append(late, frames(a.Envelopes())...) {
			if err := b.Receive(now, f); err != nil {
				t.Fatal(err)
			}
		}
		late = late[:0]
	}
	if received := b.Stats().DeltasReceived; received > 60_000 {
		t.Errorf("20,000 records took %d, in %d requests", received, b.Stats().SyncRequests)
	}
}

func frames(list []Envelope) (all [][]byte) {
	for _, e := range list {
		all = append(all, e.Frame)
	}
	return all
}

func TestAWriteFromTheFutureWaitsForItsTime(t *testing.T) {
	a, b := newMachine(ann, nil), newMachine(bob, nil)
	ahead := t0.Add(time.Hour)
	frame := a.write(t, ahead, put(t, "k", 1))[0].Frame
	if err := b.Receive(t0, frame); err != nil {
		t.Fatal(err)
	}
	if b.store.Len() != 0 || b.store.Context().Contains(clock.Dot{Actor: ann, Seq: 1}) || b.store.Stats().Quarantined != 1 {
		t.Fatal("a write an hour ahead was merged, or marked as seen")
	}
	if b.MaxStamp() > clock.TimestampAt(t0.Add(time.Minute)) {
		t.Fatal("it moved the clock")
	}
	if err := b.Receive(ahead, frame); err != nil || b.store.Len() != 1 {
		t.Fatalf("in its time it is not merged: %v", err)
	}
}

// Of two clocks that disagree the one ahead is taken to be wrong; of three, the
// one that is alone.
func TestTheClusterTimeIsTheLowerMedian(t *testing.T) {
	f := func(want time.Duration, offsets ...time.Duration) {
		t.Helper()
		m := cluster(len(offsets) + 1)[0]
		for i, o := range offsets {
			m.reports[i].offset, m.reports[i].heard = o, true
		}
		m.setOffset(t0)
		if got := m.Offset(); got != want {
			t.Errorf("%v: %v, want %v", offsets, got, want)
		}
	}
	f(0)
	f(-time.Hour, -time.Hour)
	f(0, time.Hour)
	f(-time.Hour, -time.Hour, -time.Hour)
	f(0, time.Hour, 0)
	f(time.Hour, time.Hour, time.Hour)
}

func TestSomebodyElseWritingAsThisActorIsNoticed(t *testing.T) {
	a, twin, b := newMachine(ann, nil), newMachine(ann, nil), newMachine(bob, nil)
	a.write(t, t0, put(t, "k", 1))
	if err := b.Receive(t0, twin.write(t, t0, put(t, "x", 1), put(t, "y", 2))[0].Frame); err != nil {
		t.Fatal(err)
	}
	b.sendSyncRequest(t0, b.peers[0])
	if err := a.Receive(t0, pick(t, b.Envelopes(), secSyncRequest)); err != nil {
		t.Fatal(err)
	}
	if !a.Cloned() {
		t.Fatal("not noticed")
	}
	a.SetSelf(clock.Actor{Birth: 9, Rand: 9})
	if a.Cloned() {
		t.Fatal("still, as another actor")
	}
}

func TestNothingIsStableWhileAKnownPeerIsAway(t *testing.T) {
	m := cluster(3)[0]
	m.write(t, t0, put(t, "k", 1))
	seen := m.store.Context().Clone()
	m.peers[0].claimed = seen
	m.promote(m.peers[0])
	if len(m.Stable(t0)) != 0 {
		t.Fatal("stable although one peer has acknowledged nothing")
	}
	m.peers[1].claimed = seen.Clone()
	m.promote(m.peers[1])
	if len(m.Stable(t0)) != 0 {
		t.Fatal("stable although nobody was asked yet whom else he knows")
	}
	m.synced = true
	m.peers[0].membersHash, m.peers[1].membersHash = m.membersHash, m.membersHash
	if m.Stable(t0)[m.cfg.Self] != 1 {
		t.Fatalf("not stable although all have it: %v", m.Stable(t0))
	}
	m.peers[0].membersHash++
	if len(m.Stable(t0)) != 0 {
		t.Fatal("stable although one knows of others")
	}
	m.peers[0].Alive = false
	if len(m.Stable(t0)) != 0 {
		t.Fatal("stable although one that is down knew of others")
	}
	m.peers[0].Alive = true
	m.peers[0].membersHash--
	// What a peer has seen and this one has not must arrive first.
	ahead := seen.Clone()
	ahead.AddRange(m.peers[1].Actor, 1, 5)
	m.write(t, t0, put(t, "k2", 1))
	ahead.AddRange(m.cfg.Self, 1, 2)
	for _, p := range m.peers {
		p.claimed = ahead.Clone()
		m.promote(p)
	}
	if m.Stable(t0)[m.cfg.Self] != 1 {
		t.Fatal("stable before this peer has what the others had seen")
	}
}

// What a life that crashed told nobody holds removals up while somebody may have it, and no
// longer.
func TestAHoleOfALifeThatEndedHoldsUpNothingForEver(t *testing.T) {
	m := cluster(3)[0]
	m.synced = true
	life := newMachine(clock.Actor{Birth: 5, Rand: 5}, nil)
	for i, k := range []string{"a", "a", "b", "c", "c"} {
		op := put(t, k, i)
		if i == 1 || i == 4 {
			op = crdt.Op{Verb: crdt.Delete, Key: k}
		}
		if frame := life.write(t, t0, op)[0].Frame; k == "b" {
			continue // nobody is told
		} else if err := m.Receive(t0, frame); err != nil {
			t.Fatal(err)
		}
	}
	stable := func(at time.Duration, want uint64, why string) {
		t.Helper()
		now := t0.Add(at)
		m.Retire(now)
		if got := m.Stable(now)[life.cfg.Self]; got != want {
			t.Errorf("stable up to %d, want %d: %s", got, want, why)
		}
	}
	all := func() {
		for _, p := range m.peers {
			p.acked, p.membersHash = m.store.Context().Clone(), m.membersHash
		}
	}
	all()
	stable(0, 2, "it is asked for")
	clear(m.gaps)
	clear(m.flights)
	stable(0, 2, "it may be under way")
	stable(endedAfter-1, 2, "it may be under way")
	stable(endedAfter, clock.MaxSeq, "nobody has it")
	m.peers[1].acked.AddRange(life.cfg.Self, 3, 3)
	stable(3*endedAfter, 2, "a peer has it")
	all()
	stable(3*endedAfter, 2, "a peer had it a moment ago")
	stable(4*endedAfter, clock.MaxSeq, "nobody has it")
	m.SetView(t0, []Peer{{Actor: life.cfg.Self, Name: "life", Alive: true}, m.peers[0].Peer, m.peers[1].Peer})
	all()
	stable(5*endedAfter, 2, "it is up")
}

func TestABadFrameIsRefusedByName(t *testing.T) {
	good := newMachine(ann, nil).write(t, t0, put(t, "color", "red"))[0].Frame
	f := func(reason string, frame []byte) {
		t.Helper()
		b := newMachine(bob, nil)
		err := b.Receive(t0, frame)
		var bad *FrameError
		if !errors.As(err, &bad) || bad.Reason != reason || b.Stats().Refused[reason] != 1 {
			t.Errorf("%v, want %s; counted %v", err, reason, b.Stats().Refused)
		}
		if b.store.Len() != 0 {
			t.Errorf("%s: something was merged", reason)
		}
	}
	f("malformed", nil)
	f("malformed", []byte{0xdd, 0xff, 0xff, 0xff, 0xff})
	f("malformed", good[:len(good)-1])
	f("too-large", make([]byte, wire.MaxFrameBytes+1))
	version := append([]byte{}, good...)
	version[1] = 2
	f("version", version)
	other := newMachine(ann, func(c *Config) { c.Cluster = "another" }).write(t, t0, put(t, "color", "red"))[0].Frame
	f("cluster", other)
	w := newMachine(ann, nil)
	fw := w.begin()
	fw.section(firstCritical, 0)
	f("critical-section", w.finish(fw, 0, false))
	bomb := wire.AppendUint(wire.AppendUint(wire.AppendUint(wire.AppendArray(nil, 4), Version), flagS2), uint64(w.cluster))
	f("decompress", wire.AppendBin(bomb, []byte{0xff, 0xff, 0xff, 0xff, 0x7f, 0}))

	fw = w.begin()
	fw.section(lastCritical+1, 1)
	fw.uint(7)
	if err := newMachine(bob, nil).Receive(t0, w.finish(fw, 0, false)); err != nil {
		t.Errorf("an unknown section that is not critical: %v", err)
	}
}

func TestFiveBytesCostNothing(t *testing.T) {
	b := newMachine(bob, nil)
	frame := []byte{0xdd, 0xff, 0xff, 0xff, 0xff}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 100 {
		_ = b.Receive(t0, frame)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 100*512 {
		t.Errorf("%d bytes for a hundred", n)
	}
}

func FuzzReceive(f *testing.F) {
	for _, frame := range goldenFrames(f) {
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		b := newMachine(bob, nil)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_ = b.Receive(t0, frame)
		runtime.ReadMemStats(&after)
		// A frame may decompress to a thousand times its size, up to the limit, and
		// its records cost their bookkeeping.
		if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20+1000*uint64(len(frame))+4*wire.MaxFrameBytes {
			t.Fatalf("%d bytes of frame allocate %d", len(frame), n)
		}
		b.Tick(t0.Add(time.Second))
		for _, e := range b.Envelopes() {
			if len(e.Frame) > wire.MaxFrameBytes {
				t.Fatalf("an answer of %d bytes", len(e.Frame))
			}
		}
	})
}

// BenchmarkReceive decodes and merges frames of a hundred 200-byte writes to keys
// that exist.
func BenchmarkReceive(b *testing.B) {
	a := newMachine(ann, nil)
	var rounds [][]Envelope
	for round := range 200 {
		var ops []crdt.Op
		for i := range 100 {
			ops = append(ops, put(b, fmt.Sprintf("task-sentinel/tasks/%04d/status", i), strings.Repeat(fmt.Sprint((i+round)%10), 200)))
		}
		rounds = append(rounds, a.write(b, t0, ops...))
		a.Window(bob, initialWindow)
	}
	var to *machine
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%len(rounds) == 0 {
			to = newMachine(bob, nil)
		}
		for _, e := range rounds[i%len(rounds)] {
			if err := to.Receive(t0, e.Frame); err != nil {
				b.Fatal(err)
			}
		}
		to.store.Recycle(to.store.Changes())
		to.Envelopes()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/delta")
}

// BenchmarkPush frames them.
func BenchmarkPush(b *testing.B) {
	a := newMachine(ann, nil)
	var ops []crdt.Op
	for i := range 100 {
		ops = append(ops, put(b, fmt.Sprintf("task-sentinel/tasks/%04d/status", i), strings.Repeat(fmt.Sprint(i%10), 200)))
	}
	ds, err := a.store.Apply(a.hlc.Now(t0), 0, ops...)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		a.Push(t0, ds, false)
		a.Flush(t0)
		a.Envelopes()
		a.Window(bob, initialWindow)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/delta")
}

// Engines that are fed alike send alike, whatever the order of their maps.
func TestOutputIsAFunctionOfInput(t *testing.T) {
	play := func() string {
		list := cluster(12)
		var log strings.Builder
		to := list[0]
		for _, from := range list[1:] { // one hole for each of many actors
			from.write(t, t0, put(t, "a", 1))
			for _, p := range from.peers {
				p.behind = false
			}
			ds, err := from.store.Apply(from.hlc.Now(t0), 0, put(t, "b", 1))
			if err != nil {
				t.Fatal(err)
			}
			w := from.begin()
			w.deltas(from.store, secDeltas, from.cfg.Self, 2, 2, ds)
			if err := to.Receive(t0, from.finish(w, 1, false)); err != nil {
				t.Fatal(err)
			}
			w = from.begin()
			w.heads([]head{{from.cfg.Self, 2}}, true)
			if err := to.Receive(t0, from.finish(w, 0, false)); err != nil {
				t.Fatal(err)
			}
		}
		to.Tick(t0.Add(time.Second))
		for _, e := range to.Envelopes() {
			fmt.Fprintf(&log, "%v %d %x\n", e.To, e.Class, e.Frame)
		}
		return log.String()
	}
	first := play()
	if strings.Count(first, "\n") < 10 {
		t.Fatalf("only %d frames: the test is too tame", strings.Count(first, "\n"))
	}
	for range 10 {
		if play() != first {
			t.Fatal("the same input gave another output")
		}
	}
}

// A shell that learns from Deadline when to come again comes for what Lost and Window
// have queued; what is lost together is compared once.
func TestWhatAShellTellsIsDueAtOnce(t *testing.T) {
	a := newMachine(ann, func(c *Config) { c.DigestMax = time.Hour })
	for now := t0; now.Before(t0.Add(time.Hour)); now = now.Add(time.Minute) {
		a.Tick(now)
	}
	now, had := t0.Add(time.Hour), a.Stats().Digests
	lost := func() {
		for range 100 {
			a.Lost(now, bob)
		}
		if due(a.Deadline(), now) {
			a.Tick(now)
		}
	}
	lost()
	if n := a.Stats().Digests - had; n != 1 {
		t.Errorf("%d digests when a stream broke, want 1", n)
	}
	lost()
	now = now.Add(a.cfg.DigestInterval)
	lost()
	if n := a.Stats().Digests - had; n != 2 {
		t.Errorf("%d digests when it broke again, want 2", n)
	}
	a.Window(bob, 0)
	a.write(t, now, put(t, "key", strings.Repeat("v", 5000)))
	if n, _ := a.Pending(); n != 1 {
		t.Fatalf("%d writes wait for a window", n)
	}
	if a.Window(bob, 1<<20); !due(a.Deadline(), now) {
		t.Error("a window opens, and what waits for it is not due")
	}
}

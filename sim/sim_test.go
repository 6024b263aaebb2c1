package sim

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
)

var (
	update = flag.Bool("update", false, "rewrite the golden hashes")
	sweep  = flag.Uint64("sweep", 1000, "seeds to play")
	first  = flag.Uint64("first", 0, "the first of them")
)

// No seed violates a promise, and together they reach the rare states.
func TestNoSeedViolatesAPromise(t *testing.T) {
	n := *sweep
	if testing.Short() {
		n = min(n, 100)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(2000)) // a run has little live memory and makes much garbage
	var mu sync.Mutex                                  // guards the variables below
	covered := map[string]int{}
	next := *first
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				mu.Lock()
				seed := next
				next++
				mu.Unlock()
				if seed >= *first+n || t.Failed() {
					return
				}
				r := Seed(seed)
				for _, v := range r.Violations {
					t.Errorf("seed %d: %s\nreplay: go run ./cmd/sentinel-peer sim --seed %d --shrink", seed, v, seed)
				}
				mu.Lock()
				for state, n := range r.Covered {
					covered[state] += n
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for _, state := range States() {
		if n >= 1000 && covered[state] == 0 {
			t.Errorf("no seed reached: %s", state)
		}
	}
}

// Each of these seeds has shown a fault of the code or of an oracle, in a sweep too long to
// run every day.
func TestSeedsOfOldFaultsPass(t *testing.T) {
	for _, seed := range []uint64{1420, 2099, 2156, 7271, 8620, 9441, 10840, 11784, 15797, 15878, 16046, 19438, 20117, 20654, 21686, 24049, 25222, 28041, 43442, 43714, 44113, 45633, 50660, 52790, 53308, 64607, 66748, 89089, 90511, 102150, 104248, 183869, 214856, 234520, 263092, 303783, 381727, 83576, 85192, 614592, 618811, 845545, 5093474, 1002022, 1015868, 1018079, 1031152, 1150596, 1169442, 1176362, 1196203, 2020356, 2020924, 2024573, 2035960, 2037461, 2123524} {
		for _, v := range Seed(seed).Violations {
			t.Errorf("seed %d: %s", seed, v)
		}
	}
}

// hashesFile has the trace hashes of the first seeds, one a line.
const hashesFile = "testdata/golden.hashes"

// A seed gives the same run in every process, on any number of processors, with the race
// detector and without. A change of the frames or their times changes the hashes. If the
// change is intended, run make golden.
func TestASeedPlaysAlwaysAlike(t *testing.T) {
	var b strings.Builder
	for seed := range uint64(20) {
		r := Seed(seed)
		fmt.Fprintf(&b, "%d %016x %v\n", seed, r.Hash, r.Virtual)
	}
	if *update {
		if err := os.WriteFile(hashesFile, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(hashesFile)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(golden) {
		t.Errorf("the traces have changed:\n%s", b.String())
	}
	if testing.Short() || os.Getenv("SIM_CHILD") != "" {
		return
	}
	for _, processors := range []string{"1", "2", "3", "8"} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestASeedPlaysAlwaysAlike$")
		cmd.Env = append(os.Environ(), "SIM_CHILD=1", "GOMAXPROCS="+processors, "GOGC="+processors+"0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("another process with GOMAXPROCS=%s: %v\n%s", processors, err, out)
		}
	}
}

// Each oracle of the store reports the fault that it is there for.
func TestTheOraclesComplain(t *testing.T) {
	put := func(key string, v any) crdt.Op {
		value, err := crdt.ValueOf(v)
		if err != nil {
			t.Fatal(err)
		}
		return crdt.Op{Verb: crdt.Put, Key: key, Value: value}
	}
	dot := func(c *Cluster) clock.Dot {
		e, ok := c.Peer(1).Get("reg/a")
		if !ok {
			t.Fatal("nothing to spoil")
		}
		return e.Dot()
	}
	f := func(oracle string, spoil func(c *Cluster)) {
		t.Helper()
		c, err := New(Config{Seed: 1, Key: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Peer(1).Write(put("reg/a", 1)); err != nil {
			t.Fatal(err)
		}
		if c.Settle(); len(c.Violations()) > 0 {
			t.Fatalf("unspoilt: %v", c.Violations())
		}
		spoil(c)
		c.judge.final()
		for _, v := range c.Violations() {
			if strings.HasPrefix(v, oracle) {
				return
			}
		}
		t.Errorf("%s did not complain: %v", oracle, c.Violations())
	}
	f("O1", func(c *Cluster) { c.Peer(1).r.Store().Drop(dot(c), clock.Actor{}, 0) })
	f("O2", func(c *Cluster) {
		d := dot(c)
		for _, p := range c.peers {
			p.r.Store().Drop(d, clock.Actor{}, 0)
		}
	})
	f("O3", func(c *Cluster) {
		if err := c.Do("1 delete reg/a"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Peer(1).r.Write(c.Peer(1).wall().Add(time.Second), false, put("reg/a", 1)); err != nil {
			t.Fatal(err)
		}
	})
	f("O4", func(c *Cluster) {
		p := c.Peer(1)
		c.judge.minted[clock.Dot{Actor: p.r.Actor(), Seq: p.r.Store().Last() + 1}] = p
		if err := p.Write(put("reg/a", 2)); err != nil {
			t.Fatal(err)
		}
		c.Settle()
	})
	f("O5", func(c *Cluster) {
		c.cfg.Queue = -1 << 20
		c.judge.checkChanges(c.Peer(1), make([]crdt.Change, 1))
	})
	f("O6", func(c *Cluster) { c.Peer(1).merge([]byte{1, 2, 3}) })
	f("O7", func(c *Cluster) { c.Peer(1).shadow["reg/a"] = "2" })
	f("O8", func(c *Cluster) {
		c.Run(time.Second)
		c.cfg.Loss = 1
		if err := c.Peer(1).Write(put("reg/a", 2)); err != nil {
			t.Fatal(err)
		}
		c.Run(time.Second)
	})
	f("O14", func(c *Cluster) {
		if err := c.Do("1 delete reg/a"); err != nil {
			t.Fatal(err)
		}
		if err := c.Do("kill 3"); err != nil { // the peer never answers again, so no removal is forgotten
			t.Fatal(err)
		}
		c.judge.rested()
	})
	f("O15", func(c *Cluster) {
		c.cfg.Memory = 1 // the limit of the peer that starts again
		for _, step := range []string{"kill 1", "start 1"} {
			if err := c.Do(step); err != nil {
				t.Fatal(err)
			}
		}
		c.cfg.Memory = 1 << 20 // the limit that the judge assumes
		var full *crdt.FullError
		if err := c.Peer(1).Write(put("reg/b", 1)); !errors.As(err, &full) {
			t.Fatal(err)
		}
	})
	f("O16", func(c *Cluster) { // the peer takes its own packet, which the rule drops
		for _, r := range c.recorder.sent[0] {
			packet := c.recorder.tape[r.first:r.end]
			c.Peer(1).receive(bytes.Clone(packet[16 : len(packet)-16]))
		}
	})
	f("O16", func(c *Cluster) {
		c.judge.reportedUp(c.Peer(1), "n2.0")
	})
	f("O9", func(c *Cluster) {
		var again func()
		again = func() { c.At(c.Now(), again) }
		again()
		c.Run(time.Second)
	})
}

// The repair after a cut costs little more bytes than the missing writes have.
func TestHealingSendsWhatWasMissing(t *testing.T) {
	const entries = 200
	c, err := New(Config{Seed: 3, Peers: 4, Batch: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	do := func(format string, args ...any) {
		t.Helper()
		if err := c.Do(fmt.Sprintf(format, args...)); err != nil {
			t.Fatal(err)
		}
	}
	do("1 put first 1")
	do("3 put second 1")
	c.Run(time.Second)
	do("cut 1,2 | 3,4")
	c.Run(30 * time.Second)
	f := newFate(1)
	noise := func() (s string) { // a value that does not compress
		for range 10 {
			s += fmt.Sprintf("%016x", f.next())
		}
		return s
	}
	for i := range entries {
		do("1 put left/%d %q", i, noise())
		do("3 put right/%d %q", i, noise())
		c.Run(10 * time.Millisecond)
	}
	c.Run(5 * time.Second)
	var table crdt.ActorTable
	missing := 0
	for _, p := range []*Peer{c.Peer(1), c.Peer(3)} {
		s := p.r.Store()
		var all []crdt.Delta
		s.Live(p.r.Actor(), 2, s.Last(), func(d crdt.Delta) bool { all = append(all, d); return true })
		missing += 2 * len(s.AppendSection(nil, &table, p.r.Actor(), 2, s.Last(), all)) // the writes of each side go to both peers of the other
	}
	do("heal")
	before := c.Bytes()
	for !c.Converged() {
		c.Run(10 * time.Millisecond)
	}
	sent := int(c.Bytes() - before)
	t.Logf("%d B sent for %d B that were missing: %.3f", sent, missing, float64(sent)/float64(missing))
	if float64(sent) > 1.10*float64(missing) {
		t.Errorf("healing sent %d B for %d B that were missing", sent, missing)
	}
	if c.Settle(); len(c.Violations()) > 0 {
		t.Error(c.Violations())
	}
}

// A script stays the same when it is written as text and parsed again.
func TestAScriptIsItsText(t *testing.T) {
	for seed := range uint64(200) {
		s := Draw(seed, Bounds{})
		back, err := ParseScript(s.String())
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if s.String() != back.String() {
			t.Fatalf("seed %d comes back as another:\n%s\n%s", seed, s, back)
		}
	}
}

func TestAWrongScriptIsRefusedByLine(t *testing.T) {
	_, err := ParseScript("peers 3\n1s 4 put a 1\nclock 0\n2s jump 1\nloss x\n")
	for _, want := range []string{"line 3: clock", "line 5:"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	_, err = ParseScript("peers 3\n1s 4 put a 1\n2s jump 1\n3s 1 put\n4s cut 1\n5s 1 incr n x\n6s pause 9\n7s tear 1 x\n")
	for _, want := range []string{"a peer from 1 to 3", "no such step", "a verb and a key", "sides are wanted", "a whole number", "not \"9\"", "a number of entries"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

// Shrink reduces a failed run to the steps that matter.
func TestShrinkKeepsWhatMatters(t *testing.T) {
	s := Draw(3, Bounds{Faults: []string{"cut"}})
	s.Steps = append([]Step{{0, "cut 1 | 2"}}, append(s.Steps, Step{s.Ends, "1 spoil"})...)
	spoilt := func(t Script) bool {
		cut, spoil := false, false
		for _, step := range t.Steps {
			cut = cut || strings.HasPrefix(step.Do, "cut")
			spoil = spoil || cut && strings.HasSuffix(step.Do, "spoil")
		}
		return spoil
	}
	small := shrinkSteps(s, spoilt)
	if len(small.Steps) != 2 || !spoilt(small) {
		t.Errorf("of %d steps these are left:\n%s", len(s.Steps), small)
	}
}

func BenchmarkSeed(b *testing.B) {
	defer debug.SetGCPercent(debug.SetGCPercent(2000)) // as the command does
	five := Bounds{Peers: 5, Duration: 2 * time.Minute}
	for i := uint64(0); b.Loop(); i++ {
		if _, err := Draw(i, five).Run(Options{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "seeds/s")
}

func BenchmarkThousandPeers(b *testing.B) {
	for b.Loop() {
		c, err := New(Config{Seed: 1, Peers: 1000, Batch: 20 * time.Millisecond})
		if err != nil {
			b.Fatal(err)
		}
		for i := range 60 {
			if err := c.Do(fmt.Sprintf("%d put k%d %d", 1+i*16, i%7, i)); err != nil {
				b.Fatal(err)
			}
			c.Run(time.Second)
		}
	}
	b.ReportMetric(60*float64(b.N)/b.Elapsed().Seconds(), "x-real-time")
}

// Two peers agree although the link between them is down: each gets the other's last writes
// through a third peer.
func TestPeersAgreeAroundALinkThatIsDown(t *testing.T) {
	for _, c := range []struct {
		peers  int
		cut    string
		within time.Duration
	}{
		{3, "cut 1 | 3", 5 * time.Minute},    // no other peer answers
		{4, "cut 1 | 3", 10 * time.Second},   // the fourth peer confirms the claim of the second
		{4, "cut 1 | 3,4", 15 * time.Minute}, // two peers lack the write
	} {
		t.Run(fmt.Sprint(c.peers, " peers, ", c.cut), func(t *testing.T) {
			cluster, err := New(Config{Seed: 5, Peers: c.peers})
			if err != nil {
				t.Fatal(err)
			}
			do := func(step string) {
				t.Helper()
				if err := cluster.Do(step); err != nil {
					t.Fatal(err)
				}
				cluster.Run(30 * time.Millisecond) // before the next digest
			}
			do(c.cut)
			do("1 put reg/a 1")
			do("2 put reg/a 2") // the second write removes the record of the first
			do("1 put reg/b 1")
			do("2 delete reg/b")
			for began := cluster.Now(); !cluster.Converged(); cluster.Run(time.Second) {
				if took := cluster.Now() - began; took > c.within {
					t.Fatalf("they differ after %v", took)
				}
			}
			if cluster.Peer(3).r.View().Stats().ContextsHeld == 0 {
				t.Error("nothing had to be borne out")
			}
			if len(cluster.Violations()) > 0 {
				t.Error(cluster.Violations())
			}
		})
	}
}

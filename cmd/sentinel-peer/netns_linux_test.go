package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

// TestFiveProcessesEachInItsNetnsLoseNothing is the promise to whoever runs the
// daemon on a network that fails: real processes, real sockets, real packets lost.
func TestFiveProcessesEachInItsNetnsLoseNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: takes most of a minute")
	}
	newFleet(t).play(t, []episode{
		{"PeersMeet", peersMeet},
		{"SymmetricCutHeals", symmetricCutHeals},
		{"OneWayCutOfAPairIsRoutedAround", oneWayCutOfAPairIsRoutedAround},
		{"PeerThatOnlyHearsIsHeardAfterwards", peerThatOnlyHearsIsHeardAfterwards},
		{"OnePacketOfFiveLost", onePacketOfFiveLost},
		{"UDPBlockedHoldsNothingBack", udpBlockedHoldsNothingBack},
		{"KilledPeerFillsUp", killedPeerFillsUp},
		{"StoppedPeerCatchesUp", stoppedPeerCatchesUp},
		{"RollingRestartLosesNothing", rollingRestartLosesNothing},
	})
}

// TestFiveProcessesOnLoopbackLoseNothing is what can be shown without root: processes
// that are killed, stopped and restarted.
func TestFiveProcessesOnLoopbackLoseNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: takes half a minute")
	}
	newLoopbackFleet(t).play(t, []episode{
		{"PeersMeet", peersMeet},
		{"KilledPeerFillsUp", killedPeerFillsUp},
		{"StoppedPeerCatchesUp", stoppedPeerCatchesUp},
		{"RollingRestartLosesNothing", rollingRestartLosesNothing},
	})
}

// episode is one thing that happens to a fleet, and what must hold afterwards.
type episode struct {
	name string
	run  func(*testing.T, *fleet)
}

func (f *fleet) play(t *testing.T, episodes []episode) {
	for _, s := range episodes {
		began := time.Now()
		if !t.Run(s.name, func(t *testing.T) { s.run(t, f) }) {
			t.Fatal("the rest would start from a broken fleet")
		}
		t.Logf("%-36s %5.1f s", s.name, time.Since(began).Seconds())
	}
}

func peersMeet(t *testing.T, f *fleet) {
	ctx := f.patience(t)
	for _, p := range f.peers {
		f.check(t, f.launch(p))
	}
	f.check(t, f.together(ctx, f.peers))
	f.write(t, ctx, "met", f.peers...)
	f.healed(t, ctx)
}

func symmetricCutHeals(t *testing.T, f *fleet) {
	ctx := f.patience(t)
	left, right := f.peers[:2], f.peers[2:]
	f.check(t, errors.Join(f.net.cut(names(left), names(right)), f.net.cut(names(right), names(left))))
	f.writeFor(t, ctx, 15*time.Second, "apart", f.peers...)
	f.check(t, errors.Join(f.agree(ctx, left), f.agree(ctx, right)))
	f.differ(t, ctx)
	f.healed(t, ctx)
}

// What n1 cannot tell n2, the others do: nobody need wait for the cut to heal.
func oneWayCutOfAPairIsRoutedAround(t *testing.T, f *fleet) {
	ctx := f.patience(t)
	f.check(t, f.net.cut([]string{"n1"}, []string{"n2"}))
	f.writeFor(t, ctx, 3*time.Second, "pair", f.peers...)
	f.converged(t, ctx, "with n1 to n2 cut")
	f.healed(t, ctx)
}

func peerThatOnlyHearsIsHeardAfterwards(t *testing.T, f *fleet) {
	ctx := f.patience(t)
	f.check(t, f.net.cut([]string{"n1"}, names(f.peers[1:])))
	f.writeFor(t, ctx, 8*time.Second, "mute", f.peers...)
	f.check(t, f.agree(ctx, f.peers[1:]))
	f.differ(t, ctx)
	f.healed(t, ctx)
}

func onePacketOfFiveLost(t *testing.T, f *fleet) {
	ctx := f.patience(t)
	f.check(t, f.net.lose(5))
	for i := range 200 {
		p := f.peers[i%len(f.peers)]
		f.put(t, ctx, p, fmt.Sprintf("lossy/%d", i), p.name)
		pause(ctx, 10*time.Millisecond) // many packets rather than a few full ones
	}
	f.converged(t, ctx, "with one packet of five lost")
	lost, err := f.net.lost()
	f.check(t, err)
	t.Logf("%d packets lost", lost)
	if lost == 0 {
		t.Error("no packet was lost")
	}
	f.healed(t, ctx)
}

// Between n1 and all others no UDP passes, and from n2 to n3 none: small writes arrive by
// TCP, all stay members, and the peers say how it is.
func udpBlockedHoldsNothingBack(t *testing.T, f *fleet) {
	ctx := f.patience(t)
	for _, p := range f.peers[1:] {
		f.check(t, errors.Join(f.net.cutPackets("n1", p.name), f.net.cutPackets(p.name, "n1")))
	}
	f.check(t, f.net.cutPackets("n2", "n3"))
	f.write(t, ctx, "streams", f.peers...)
	f.converged(t, ctx, "with UDP blocked")
	for _, want := range []struct {
		from, to string
		way      agent.Packets
	}{
		{"n1", "n5", agent.Packets{To: "blocked", From: "blocked"}},
		{"n2", "n3", agent.Packets{To: "blocked", From: "pass"}},
		{"n3", "n2", agent.Packets{To: "pass", From: "blocked"}},
		{"n4", "n5", agent.Packets{To: "pass", From: "pass"}},
	} {
		f.says(t, ctx, want.from, want.to, want.way)
	}
	f.check(t, f.together(ctx, f.peers)) // nobody was taken for dead
	f.healed(t, ctx)
	f.says(t, ctx, "n1", "n5", agent.Packets{To: "pass", From: "pass"})
	f.says(t, ctx, "n3", "n2", agent.Packets{To: "pass", From: "pass"})
}

// says waits until one peer says of another whether packets pass.
func (f *fleet) says(t *testing.T, ctx context.Context, one, other string, want agent.Packets) {
	t.Helper()
	p := f.peers[slices.Index(names(f.peers), one)]
	for {
		list, err := p.client.peers(ctx)
		f.check(t, err)
		for _, m := range list {
			if m.Name == other && m.State == "alive" && m.Packets == want {
				return
			}
		}
		if pause(ctx, 100*time.Millisecond); ctx.Err() != nil {
			t.Fatalf("%s does not say of %s that packets are %+v, but %+v", one, other, want, list)
		}
	}
}

func killedPeerFillsUp(t *testing.T, f *fleet) {
	ctx := f.patience(t)
	p := f.peers[3]
	f.check(t, p.cmd.Process.Kill())
	_ = p.cmd.Wait() // it was killed, and says so
	f.write(t, ctx, "killed", f.others(p)...)
	f.check(t, f.launch(p))
	f.check(t, f.ready(ctx, p))
	// Its counts from before and after must both count, though it forgot the former.
	f.write(t, ctx, "revived", f.peers...)
	f.healed(t, ctx)
}

func stoppedPeerCatchesUp(t *testing.T, f *fleet) {
	ctx := f.patience(t)
	p := f.peers[4]
	f.check(t, p.cmd.Process.Signal(syscall.SIGSTOP))
	f.delete(t, ctx, f.peers[0], "met/n1")
	f.writeFor(t, ctx, 5*time.Second, "stopped", f.others(p)...)
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if p.client.do(short, "GET", "/healthz", nil, nil, nil, nil) == nil {
		t.Fatalf("%s answers while it is stopped", p.name)
	}
	f.check(t, p.cmd.Process.Signal(syscall.SIGCONT))
	f.healed(t, ctx)
}

func rollingRestartLosesNothing(t *testing.T, f *fleet) {
	ctx := f.patience(t)
	before := len(f.values)
	writing, enough := context.WithCancel(ctx)
	var writers sync.WaitGroup
	for _, p := range f.peers {
		writers.Go(func() {
			for i := 0; writing.Err() == nil; i++ {
				key := fmt.Sprintf("rolling/%s/%d", p.name, i)
				if p.put(ctx, key, fmt.Sprintf("%q", p.name)) == nil {
					f.acknowledged(key, p.name)
				}
				pause(writing, 10*time.Millisecond)
			}
		})
	}
	t.Cleanup(func() { enough(); writers.Wait() })
	for _, p := range f.peers {
		began := time.Now()
		f.check(t, p.cmd.Process.Signal(syscall.SIGTERM))
		if err := p.cmd.Wait(); err != nil {
			t.Errorf("%s: a peaceful stop: %v", p.name, err)
		}
		stopped := time.Since(began)
		f.check(t, f.launch(p))
		f.check(t, f.ready(ctx, p))
		t.Logf("%s: stopped in %v, ready after %v", p.name, round(stopped), round(time.Since(began)))
	}
	enough()
	writers.Wait()
	t.Logf("%d writes acknowledged meanwhile", len(f.values)-before)
	f.healed(t, ctx)
}

// fleet is five daemons, and what they must hold.
type fleet struct {
	demo
	net     *network // nil on loopback
	failing sync.Once

	mu      sync.Mutex
	values  map[string]string // acknowledged, by key
	members []string          // of one set
	count   int
}

func newLoopbackFleet(t *testing.T) *fleet {
	self, err := exec.LookPath("sentinel-peer")
	if err != nil {
		t.Fatal(err)
	}
	addrs, err := freeAddrs(10)
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{values: map[string]string{}}
	f.self, f.dir = self, t.TempDir()
	for i := range 5 {
		f.peers = append(f.peers, &process{
			name: fmt.Sprintf("n%d", i+1), gossip: addrs[2*i],
			client: client{addr: addrs[2*i+1], timeout: 5 * time.Second},
		})
	}
	t.Cleanup(f.stop)
	f.check(t, f.seal())
	return f
}

func newFleet(t *testing.T) *fleet {
	return newFleetAt(t, "10.77.0.1", "10.77.0.2", "10.77.0.3", "10.77.0.4", "10.77.0.5")
}

// newFleetAt has a peer listen at each address, 10.77.0.N or fd77::N. Its machine has an
// address of either kind.
func newFleetAt(t *testing.T, ips ...string) *fleet {
	self, err := exec.LookPath("sentinel-peer")
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{values: map[string]string{}}
	f.self, f.dir = self, t.TempDir()
	addrs := map[string][]string{}
	for i, ip := range ips {
		name := fmt.Sprintf("n%d", i+1)
		addrs[name] = []string{fmt.Sprintf("10.77.0.%d/24", i+1), fmt.Sprintf("fd77::%d/64", i+1)}
		f.peers = append(f.peers, &process{name: name, gossip: net.JoinHostPort(ip, "7946")})
	}
	f.net = newNetwork(t, addrs)
	for _, p := range f.peers {
		p.client = client{addr: f.net.homes[p.name].serve(t, defaultHTTP), timeout: 5 * time.Second}
	}
	t.Cleanup(f.stop)
	f.check(t, f.seal())
	return f
}

// launch starts p in its namespace. It shadows that of the demo, which stays on loopback.
func (f *fleet) launch(p *process) error {
	http := defaultHTTP
	if f.net == nil {
		http = p.client.addr
	}
	argv := []string{"agent", "--cluster", "netns", "--name", p.name, "--bind", p.gossip, "--http", http, "--key-file", f.keyFile(),
		"--state-dir", filepath.Join(f.dir, p.name)}
	for _, q := range f.others(p) {
		argv = append(argv, "--join", q.gossip)
	}
	var err error
	if p.log, err = os.OpenFile(filepath.Join(f.dir, p.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return err
	}
	defer p.log.Close()
	p.cmd = exec.Command(f.self, argv...)
	p.cmd.Env = append(os.Environ(), "SENTINEL_CONFIG=")
	p.cmd.Stderr = p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // with the thread of its namespace
	if f.net == nil {
		p.cmd.SysProcAttr = nil // the thread that starts it may end before it
		return p.cmd.Start()
	}
	return f.net.homes[p.name].do(p.cmd.Start)
}

// patience bounds one scenario. Whatever still runs then is killed, so that no
// wait for a process outlasts it.
func (f *fleet) patience(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			for _, p := range f.peers {
				if p.cmd != nil && p.cmd.Process != nil {
					_ = p.cmd.Process.Kill()
				}
			}
		}
	})
	return ctx
}

func (f *fleet) check(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	f.failing.Do(func() {
		for _, p := range f.peers {
			log, _ := os.ReadFile(filepath.Join(f.dir, p.name+".log"))
			t.Logf("%s:\n%s", p.name, log)
		}
	})
	t.Fatal(err)
}

func (f *fleet) others(p *process) []*process {
	return slices.DeleteFunc(slices.Clone(f.peers), func(q *process) bool { return p == q })
}

func names(peers []*process) []string {
	var list []string
	for _, p := range peers {
		list = append(list, p.name)
	}
	return list
}

func (f *fleet) ready(ctx context.Context, p *process) error {
	return until(ctx, "waiting for "+p.name, func() error {
		return p.client.do(ctx, "GET", "/readyz", nil, nil, nil, nil)
	})
}

func (f *fleet) acknowledged(key, value string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.values[key] = fmt.Sprintf("%q", value)
}

func (f *fleet) put(t *testing.T, ctx context.Context, p *process, key, value string) {
	t.Helper()
	f.check(t, p.put(ctx, key, fmt.Sprintf("%q", value)))
	f.acknowledged(key, value)
}

func (f *fleet) delete(t *testing.T, ctx context.Context, p *process, key string) {
	t.Helper()
	f.check(t, p.client.do(ctx, "DELETE", keyPath("/v1/keys/", key), nil, nil, nil, nil))
	delete(f.values, key)
}

// write makes each of peers write a key, a member of a set, and a count.
func (f *fleet) write(t *testing.T, ctx context.Context, round string, peers ...*process) {
	t.Helper()
	for _, p := range peers {
		f.put(t, ctx, p, round+"/"+p.name, round)
		f.check(t, p.post(ctx, "/v1/sets/", "set", fmt.Sprintf(`{"add":[%q]}`, round+"-"+p.name)))
		f.check(t, p.post(ctx, "/v1/counters/", "counter", `{"add":1}`))
		f.members = append(f.members, round+"-"+p.name)
		f.count++
	}
}

// writeFor writes again and again, and never for less than d.
func (f *fleet) writeFor(t *testing.T, ctx context.Context, d time.Duration, name string, peers ...*process) {
	t.Helper()
	began := time.Now()
	for i := 0; time.Since(began) < d; i++ {
		f.write(t, ctx, fmt.Sprintf("%s/%d", name, i), peers...)
		pause(ctx, 100*time.Millisecond)
	}
}

// pause sets the pace of writes. Nothing relies on it.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// differ checks that a fault did what it should: without it they would agree by now.
func (f *fleet) differ(t *testing.T, ctx context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	if f.agree(ctx, f.peers) == nil {
		t.Fatal("the cut did not cut")
	}
}

// healed ends every fault, and waits until all know each other and hold the same.
func (f *fleet) healed(t *testing.T, ctx context.Context) {
	t.Helper()
	if f.net != nil {
		f.check(t, f.net.heal())
	}
	f.converged(t, ctx, "healed")
	began := time.Now()
	f.check(t, f.together(ctx, f.peers))
	t.Logf("each sees all alive %v after that", round(time.Since(began)))
}

// converged waits until all hold the same, and checks that it is what was acknowledged.
func (f *fleet) converged(t *testing.T, ctx context.Context, when string) {
	t.Helper()
	began := time.Now()
	f.check(t, f.agree(ctx, f.peers))
	t.Logf("%s: all agree after %v", when, round(time.Since(began)))
	var first []entry
	for i, p := range f.peers {
		list, err := p.entries(ctx)
		f.check(t, err)
		if i == 0 {
			first = list
		} else if !slices.Equal(list, first) {
			t.Fatalf("under one digest, %s and %s list different keys", f.peers[0].name, p.name)
		}
	}
	f.holds(t, first)
}

// holds checks a listing against what was acknowledged.
func (f *fleet) holds(t *testing.T, list []entry) {
	t.Helper()
	got := map[string]string{}
	for _, e := range list {
		got[e.Key] = string(e.Value)
	}
	want := f.values
	if f.count > 0 {
		slices.Sort(f.members)
		members, err := json.Marshal(f.members)
		f.check(t, err)
		want["set"], want["counter"] = string(members), fmt.Sprint(f.count)
	}
	for key, value := range want {
		if got[key] != value {
			t.Errorf("%s is %.200s, want %.200s", key, got[key], value)
		}
	}
	for key := range got {
		// A write may be made and its acknowledgement lost with the process.
		if _, ok := want[key]; !ok && !strings.HasPrefix(key, "rolling/") {
			t.Errorf("%s is there, and should not be", key)
		}
	}
}

// entry is what peers must say alike of a key. The name of its writer is not in
// here: who was started after that one had left knows only its id.
type entry struct {
	Key, Type, Version string
	Value              jsonText
}

// jsonText is JSON as it came, and can be compared.
type jsonText string

func (j *jsonText) UnmarshalJSON(b []byte) error {
	*j = jsonText(b)
	return nil
}

// entries lists all keys of p.
func (p *process) entries(ctx context.Context) ([]entry, error) {
	var all []entry
	query := url.Values{"values": {"true"}}
	for {
		var page api.List[entry]
		if err := p.client.do(ctx, "GET", "/v1/keys", query, nil, nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if page.Next == "" {
			return all, nil
		}
		query.Set("after", page.Next)
	}
}

package cli

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

	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

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

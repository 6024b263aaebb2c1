package fleet

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
	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/local"
)

// fleet is five daemons with the values that they must have.
type fleet struct {
	local.Fleet
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
	addrs, err := local.FreeAddrs(10)
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{values: map[string]string{}}
	f.Self, f.Dir = self, t.TempDir()
	for i := range 5 {
		f.Peers = append(f.Peers, &local.Process{
			Name: fmt.Sprintf("n%d", i+1), Gossip: addrs[2*i],
			Client: client.Client{Addr: addrs[2*i+1], Timeout: 5 * time.Second},
		})
	}
	t.Cleanup(f.Stop)
	f.check(t, f.Seal())
	return f
}

func newFleet(t *testing.T) *fleet {
	return newFleetAt(t, "10.77.0.1", "10.77.0.2", "10.77.0.3", "10.77.0.4", "10.77.0.5")
}

// newFleetAt starts a peer at each address, 10.77.0.N or fd77::N. The machine of each peer
// has an address of both kinds.
func newFleetAt(t *testing.T, ips ...string) *fleet {
	self, err := exec.LookPath("sentinel-peer")
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{values: map[string]string{}}
	f.Self, f.Dir = self, t.TempDir()
	addrs := map[string][]string{}
	for i, ip := range ips {
		name := fmt.Sprintf("n%d", i+1)
		addrs[name] = []string{fmt.Sprintf("10.77.0.%d/24", i+1), fmt.Sprintf("fd77::%d/64", i+1)}
		f.Peers = append(f.Peers, &local.Process{Name: name, Gossip: net.JoinHostPort(ip, "7946")})
	}
	f.net = newNetwork(t, addrs)
	for _, p := range f.Peers {
		p.Client = client.Client{Addr: f.net.homes[p.Name].serve(t, client.DefaultHTTP), Timeout: 5 * time.Second}
	}
	t.Cleanup(f.Stop)
	f.check(t, f.Seal())
	return f
}

// launch starts p in its namespace. It shadows the method of local.Fleet, which starts p on
// loopback.
func (f *fleet) launch(p *local.Process) error {
	http := client.DefaultHTTP
	if f.net == nil {
		http = p.Client.Addr
	}
	argv := []string{"agent", "--cluster", "netns", "--name", p.Name, "--bind", p.Gossip, "--http", http, "--key-file", f.KeyFile(),
		"--state-dir", filepath.Join(f.Dir, p.Name)}
	for _, q := range f.others(p) {
		argv = append(argv, "--join", q.Gossip)
	}
	var err error
	if p.Log, err = os.OpenFile(filepath.Join(f.Dir, p.Name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return err
	}
	defer p.Log.Close()
	p.Cmd = exec.Command(f.Self, argv...)
	p.Cmd.Env = append(os.Environ(), "SENTINEL_CONFIG=")
	p.Cmd.Stderr = p.Log
	p.Cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // with the thread of its namespace
	if f.net == nil {
		p.Cmd.SysProcAttr = nil // the thread that starts it may end before it
		return p.Cmd.Start()
	}
	return f.net.homes[p.Name].do(p.Cmd.Start)
}

// patience bounds one scenario. All processes that still run then are killed, so that no
// wait for a process lasts longer.
func (f *fleet) patience(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			for _, p := range f.Peers {
				if p.Cmd != nil && p.Cmd.Process != nil {
					_ = p.Cmd.Process.Kill()
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
		for _, p := range f.Peers {
			log, _ := os.ReadFile(filepath.Join(f.Dir, p.Name+".log"))
			t.Logf("%s:\n%s", p.Name, log)
		}
	})
	t.Fatal(err)
}

func (f *fleet) others(p *local.Process) []*local.Process {
	return slices.DeleteFunc(slices.Clone(f.Peers), func(q *local.Process) bool { return p == q })
}

func names(peers []*local.Process) []string {
	var list []string
	for _, p := range peers {
		list = append(list, p.Name)
	}
	return list
}

func (f *fleet) ready(ctx context.Context, p *local.Process) error {
	return local.Until(ctx, "waiting for "+p.Name, func() error {
		return p.Client.Do(ctx, "GET", "/readyz", nil, nil, nil, nil)
	})
}

func (f *fleet) acknowledged(key, value string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.values[key] = fmt.Sprintf("%q", value)
}

func (f *fleet) put(t *testing.T, ctx context.Context, p *local.Process, key, value string) {
	t.Helper()
	f.check(t, p.Put(ctx, key, fmt.Sprintf("%q", value)))
	f.acknowledged(key, value)
}

func (f *fleet) delete(t *testing.T, ctx context.Context, p *local.Process, key string) {
	t.Helper()
	f.check(t, p.Client.Do(ctx, "DELETE", client.KeyPath("/v1/keys/", key), nil, nil, nil, nil))
	delete(f.values, key)
}

// write makes each of peers write a key, a member of a set, and a count.
func (f *fleet) write(t *testing.T, ctx context.Context, round string, peers ...*local.Process) {
	t.Helper()
	for _, p := range peers {
		f.put(t, ctx, p, round+"/"+p.Name, round)
		f.check(t, p.Post(ctx, "/v1/sets/", "set", fmt.Sprintf(`{"add":[%q]}`, round+"-"+p.Name)))
		f.check(t, p.Post(ctx, "/v1/counters/", "counter", `{"add":1}`))
		f.members = append(f.members, round+"-"+p.Name)
		f.count++
	}
}

// writeFor writes again and again, for at least d.
func (f *fleet) writeFor(t *testing.T, ctx context.Context, d time.Duration, name string, peers ...*local.Process) {
	t.Helper()
	began := time.Now()
	for i := 0; time.Since(began) < d; i++ {
		f.write(t, ctx, fmt.Sprintf("%s/%d", name, i), peers...)
		pause(ctx, 100*time.Millisecond)
	}
}

// pause sets the pace of writes. No test depends on its length.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// differ checks that a fault had an effect: without it all peers would agree by now.
func (f *fleet) differ(t *testing.T, ctx context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	if f.Agree(ctx, f.Peers) == nil {
		t.Fatal("the cut did not cut")
	}
}

// healed ends every fault, and waits until all peers know each other and agree.
func (f *fleet) healed(t *testing.T, ctx context.Context) {
	t.Helper()
	if f.net != nil {
		f.check(t, f.net.heal())
	}
	f.converged(t, ctx, "healed")
	began := time.Now()
	f.check(t, f.Together(ctx, f.Peers))
	t.Logf("each sees all alive %v after that", time.Since(began).Round(time.Millisecond))
}

// converged waits until all peers agree, and checks that they have every acknowledged
// write.
func (f *fleet) converged(t *testing.T, ctx context.Context, when string) {
	t.Helper()
	began := time.Now()
	f.check(t, f.Agree(ctx, f.Peers))
	t.Logf("%s: all agree after %v", when, time.Since(began).Round(time.Millisecond))
	var first []entry
	for i, p := range f.Peers {
		list, err := entries(ctx, p)
		f.check(t, err)
		if i == 0 {
			first = list
		} else if !slices.Equal(list, first) {
			t.Fatalf("under one digest, %s and %s list different keys", f.Peers[0].Name, p.Name)
		}
	}
	f.holds(t, first)
}

// holds checks that a listing has every acknowledged write.
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

// entry is the part of a key that must be equal on all peers. It leaves out the name of the
// writer: a peer that was started after the writer had left knows only its id.
type entry struct {
	Key, Type, Version string
	Value              jsonText
}

// jsonText is unparsed JSON, which can be compared.
type jsonText string

func (j *jsonText) UnmarshalJSON(b []byte) error {
	*j = jsonText(b)
	return nil
}

// entries lists all keys of p.
func entries(ctx context.Context, p *local.Process) ([]entry, error) {
	var all []entry
	query := url.Values{"values": {"true"}}
	for {
		var page api.List[entry]
		if err := p.Client.Do(ctx, "GET", "/v1/keys", query, nil, nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if page.Next == "" {
			return all, nil
		}
		query.Set("after", page.Next)
	}
}

package local

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/daemon"
)

// Process is one daemon in a process of its own.
type Process struct {
	Name, Gossip string
	Client       client.Client
	Cmd          *exec.Cmd
	Log          *os.File
}

// Fleet is the peers of one cluster, on loopback and with a key.
type Fleet struct {
	Self    string   // the program to start as a peer
	Dir     string   // the folder of the key, the logs and the peers' state
	Batch   string   // the value of --batch-interval
	Flags   []string // further flags for each peer
	Verbose bool     // the peers' logs go to standard error
	Peers   []*Process
}

// Start starts three peers, and waits until each knows the others.
func (f *Fleet) Start(ctx context.Context) error {
	for i := range 3 {
		addrs, err := FreeAddrs(2)
		if err != nil {
			return err
		}
		p := &Process{Name: fmt.Sprintf("n%d", i+1), Gossip: addrs[0], Client: client.Client{Addr: addrs[1], Timeout: Patience}}
		f.Peers = append(f.Peers, p)
		if err := f.Launch(p); err != nil {
			return err
		}
	}
	return f.Together(ctx, f.Peers)
}

// FreeAddrs returns n loopback addresses on which nobody listens by TCP or UDP. Their ports lie
// below those that systems give to outgoing connections, so that no such connection takes one
// before it is used. No address is returned twice.
func FreeAddrs(n int) ([]string, error) {
	var addrs []string
	for range 100 * n {
		if len(addrs) == n {
			return addrs, nil
		}
		addr := fmt.Sprintf("127.0.0.1:%d", 20_000+rand.N(12_000))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		defer l.Close() // held until all are found, so that none is found twice
		if u, err := net.ListenPacket("udp", addr); err == nil {
			u.Close()
			if _, again := given.LoadOrStore(addr, true); !again {
				addrs = append(addrs, addr)
			}
		}
	}
	return nil, fmt.Errorf("no %d free addresses among the ports 20000 to 31999 of 127.0.0.1", n)
}

// given holds the addresses that FreeAddrs has returned.
var given sync.Map

// Launch starts the process p, which joins the other peers.
func (f *Fleet) Launch(p *Process) error {
	argv := []string{"agent", "--cluster", "demo", "--name", p.Name, "--bind", p.Gossip, "--http", p.Client.Addr,
		"--key-file", f.KeyFile(), "--batch-interval", f.Batch, "--dev-faults", "--log-level", "info",
		"--state-dir", filepath.Join(f.Dir, p.Name)}
	argv = append(argv, f.Flags...)
	for _, q := range f.Peers {
		if q != p {
			argv = append(argv, "--join", q.Gossip)
		}
	}
	var err error
	if p.Log, err = os.OpenFile(filepath.Join(f.Dir, p.Name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return err
	}
	p.Cmd = exec.Command(f.Self, argv...)
	p.Cmd.Env = append(os.Environ(), "SENTINEL_CONFIG=")
	p.Cmd.Stderr = p.Log
	if f.Verbose {
		p.Cmd.Stderr = os.Stderr
	}
	return p.Cmd.Start()
}

// Stop kills the peers that still run.
func (f *Fleet) Stop() {
	for _, p := range f.Peers {
		if p.Cmd != nil && p.Cmd.Process != nil && p.Cmd.ProcessState == nil {
			_ = p.Cmd.Process.Kill()
			_ = p.Cmd.Wait()
		}
		if p.Log != nil {
			p.Log.Close()
		}
	}
}

// Until polls a condition, every 5 ms, that other processes bring about.
func Until(ctx context.Context, what string, met func() error) error {
	for {
		err := met()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: gave up: %w", what, err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Together waits until each of the peers is ready and sees all of them alive.
func (f *Fleet) Together(ctx context.Context, peers []*Process) error {
	return Until(ctx, "waiting for the peers", func() error {
		for _, p := range peers {
			if err := p.Client.Do(ctx, "GET", "/readyz", nil, nil, nil, nil); err != nil {
				return fmt.Errorf("%s: %w", p.Name, err)
			}
			list, err := p.Client.Members(ctx)
			if err != nil {
				return err
			}
			alive := 0
			for _, m := range list {
				if m.State == "alive" {
					alive++
				}
			}
			if alive != len(peers) {
				return fmt.Errorf("%s sees %d of %d peers", p.Name, alive, len(peers))
			}
		}
		return nil
	})
}

// Agree waits until all of the peers hold the same state.
func (f *Fleet) Agree(ctx context.Context, peers []*Process) error {
	return Until(ctx, "waiting for agreement", func() error {
		var first api.Digest
		for i, p := range peers {
			var g api.Digest
			if err := p.Client.Do(ctx, "GET", "/v1/digest", nil, nil, nil, &g); err != nil {
				return err
			}
			if i == 0 {
				first = g
			} else if g != first {
				return fmt.Errorf("%s has %d keys, digest %s; %s has %d, %s", peers[0].Name, first.Keys, first.Hash, p.Name, g.Keys, g.Hash)
			}
		}
		return nil
	})
}

// Put assigns a JSON value to a key. The query is names and values in turn, for the HTTP API.
func (p *Process) Put(ctx context.Context, key, value string, query ...string) error {
	q := url.Values{}
	for i := 0; i+1 < len(query); i += 2 {
		q.Set(query[i], query[i+1])
	}
	return p.Client.Do(ctx, "PUT", client.KeyPath("/v1/keys/", key), q, []byte(value), nil, nil)
}

// Post sends a body to the path of the API for a key.
func (p *Process) Post(ctx context.Context, path, key, body string) error {
	return p.Client.Do(ctx, "POST", client.KeyPath(path, key), nil, []byte(body), nil, nil)
}

// KeyFile returns the path of the cluster's key.
func (f *Fleet) KeyFile() string { return filepath.Join(f.Dir, "key") }

// Seal creates the cluster's key.
func (f *Fleet) Seal() error { return os.WriteFile(f.KeyFile(), []byte(daemon.NewKey()+"\n"), 0o600) }

// Patience is the time limit of one step.
const Patience = 20 * time.Second

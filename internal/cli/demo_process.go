package cli

import (
	"context"
	"encoding/json"
	"errors"
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
)

// process is one daemon.
type process struct {
	name, gossip string
	client       client
	cmd          *exec.Cmd
	log          *os.File
}

// freeAddrs returns loopback addresses that nobody listens on, by TCP or UDP. They lie
// below the ports that systems give to outgoing connections, so that none of those takes
// one before it is used, and none is returned twice.
func freeAddrs(n int) ([]string, error) {
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
		defer l.Close() // at the end: no address twice
		if u, err := net.ListenPacket("udp", addr); err == nil {
			u.Close()
			if _, again := given.LoadOrStore(addr, true); !again {
				addrs = append(addrs, addr)
			}
		}
	}
	return nil, fmt.Errorf("no %d free addresses among the ports 20000 to 31999 of 127.0.0.1", n)
}

// given are the addresses that freeAddrs has returned.
var given sync.Map

func (d *demo) launch(p *process) error {
	argv := []string{"agent", "--cluster", "demo", "--name", p.name, "--bind", p.gossip, "--http", p.client.addr,
		"--key-file", d.keyFile(), "--batch-interval", d.batch, "--dev-faults", "--log-level", "info",
		"--state-dir", filepath.Join(d.dir, p.name)}
	argv = append(argv, d.flags...)
	for _, q := range d.peers {
		if q != p {
			argv = append(argv, "--join", q.gossip)
		}
	}
	var err error
	if p.log, err = os.OpenFile(filepath.Join(d.dir, p.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return err
	}
	p.cmd = exec.Command(d.self, argv...)
	p.cmd.Env = append(os.Environ(), "SENTINEL_CONFIG=")
	p.cmd.Stderr = p.log
	if d.verbose {
		p.cmd.Stderr = os.Stderr
	}
	return p.cmd.Start()
}

// stop ends the peers that still run.
func (d *demo) stop() {
	for _, p := range d.peers {
		if p.cmd != nil && p.cmd.Process != nil && p.cmd.ProcessState == nil {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
		if p.log != nil {
			p.log.Close()
		}
	}
}

// until polls a condition that other processes bring about.
func until(ctx context.Context, what string, met func() error) error {
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

// together waits until each of peers is ready and sees all of them.
func (d *demo) together(ctx context.Context, peers []*process) error {
	return until(ctx, "waiting for the peers", func() error {
		for _, p := range peers {
			if err := p.client.do(ctx, "GET", "/readyz", nil, nil, nil, nil); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			list, err := p.client.peers(ctx)
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
				return fmt.Errorf("%s sees %d of %d peers", p.name, alive, len(peers))
			}
		}
		return nil
	})
}

// agree waits until peers hold the same state.
func (d *demo) agree(ctx context.Context, peers []*process) error {
	return until(ctx, "waiting for agreement", func() error {
		var first api.Digest
		for i, p := range peers {
			var g api.Digest
			if err := p.client.do(ctx, "GET", "/v1/digest", nil, nil, nil, &g); err != nil {
				return err
			}
			if i == 0 {
				first = g
			} else if g != first {
				return fmt.Errorf("%s has %d keys, digest %s; %s has %d, %s", peers[0].name, first.Keys, first.Hash, p.name, g.Keys, g.Hash)
			}
		}
		return nil
	})
}

func (p *process) put(ctx context.Context, key, value string, query ...string) error {
	q := url.Values{}
	for i := 0; i+1 < len(query); i += 2 {
		q.Set(query[i], query[i+1])
	}
	return p.client.do(ctx, "PUT", keyPath("/v1/keys/", key), q, []byte(value), nil, nil)
}

func (p *process) patch(ctx context.Context, key, value string) error {
	return p.client.do(ctx, "PATCH", keyPath("/v1/keys/", key), nil, []byte(value), nil, nil)
}

func (p *process) post(ctx context.Context, path, key, body string) error {
	return p.client.do(ctx, "POST", keyPath(path, key), nil, []byte(body), nil, nil)
}

// everyType writes a value of each type from p.
func (p *process) everyType(ctx context.Context, i int, round string) error {
	return errors.Join(
		p.put(ctx, "demo/color/"+p.name, fmt.Sprintf("%q", round)),
		p.post(ctx, "/v1/sets/", "demo/tags", fmt.Sprintf(`{"add":[%q,"all"]}`, p.name+"-"+round)),
		p.post(ctx, "/v1/counters/", "demo/done", fmt.Sprintf(`{"add":%d}`, 10*(i+1))),
		p.post(ctx, "/v1/counters/", "demo/record", fmt.Sprintf(`{"max":%d}`, 100+i)),
		p.patch(ctx, "demo/task", fmt.Sprintf(`{"workers":{%q:%q},"status":%q}`, p.name, "busy", round)),
		p.put(ctx, "demo/opinion", fmt.Sprintf("%q", p.name), "type", "custom"),
		p.put(ctx, "demo/session/"+p.name, `"short-lived"`, "ttl", "1500ms"),
	)
}

// shown returns what p holds at key, as a cell of the table.
func (p *process) shown(ctx context.Context, key string) string {
	var v json.RawMessage
	err := p.client.do(ctx, "GET", keyPath("/v1/keys/", key), nil, nil, nil, &v)
	if e, ok := errors.AsType[*exitError](err); ok && e.code == api.ExitNotFound {
		return absent
	}
	if err != nil {
		return "error: " + err.Error()
	}
	return string(v)
}

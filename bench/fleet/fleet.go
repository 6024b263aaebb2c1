// Package fleet starts agents on loopback, and waits until they know each other.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
)

// Key is the keyring's one key: the benchmarks measure sealed traffic.
var Key = []byte("0123456789abcdef0123456789abcdef")

// Open starts n agents with cfg, and waits until each is ready and sees all others.
func Open(ctx context.Context, n int, cfg agent.Config) ([]*agent.Agent, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	cfg.Cluster, cfg.Keys = "bench", [][]byte{Key}
	var peers []*agent.Agent
	for i := range n {
		cfg.Name = fmt.Sprintf("n%d", i+1)
		if i > 0 {
			cfg.Seeds = []string{peers[0].Addr()}
		}
		p, err := agent.Open(ctx, cfg)
		if err != nil {
			return nil, errors.Join(err, Close(peers))
		}
		peers = append(peers, p)
	}
	for _, p := range peers {
		if err := met(ctx, p, n); err != nil {
			return nil, errors.Join(err, Close(peers))
		}
	}
	return peers, nil
}

func met(ctx context.Context, p *agent.Agent, n int) error {
	for {
		alive := p.Stats().Members["alive"]
		if alive == n {
			return p.WaitReady(ctx)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s sees %d of %d peers", p.Name(), alive, n)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Close closes the peers one after the other. The goodbye of memberlist waits until a peer
// has it, and there is none if all leave at once.
func Close(peers []*agent.Agent) error {
	var err error
	for _, p := range peers {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		err = errors.Join(err, p.Close(ctx))
		cancel()
	}
	return err
}

// Agree returns an error that names the difference, unless all peers have the same n keys.
func Agree(peers []*agent.Agent, n int) error {
	want, _ := peers[0].Digest()
	for _, p := range peers {
		if hash, keys := p.Digest(); keys != n || hash != want {
			return fmt.Errorf("%s holds %d keys with digest %s, want %d with %s", p.Name(), keys, hash, n, want)
		}
	}
	return nil
}

// Command dskit measures three peers of grafana/dskit's memberlist KV on loopback.
//
// It is a module of its own because dskit needs Grafana's fork of memberlist. It
// reads one order a line, of a verb, a number of writes and a number of keys, and
// answers each with one line of JSON: durations are nanoseconds. The verbs are
// ready, visible and put. It ends with its input.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/go-kit/log"
	"github.com/grafana/dskit/flagext"
	"github.com/grafana/dskit/kv/codec"
	"github.com/grafana/dskit/kv/memberlist"
	"github.com/grafana/dskit/services"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	tick      = 10 * time.Millisecond
	valueSize = 200
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "dskit:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	f := &fleet{}
	for i := range 3 {
		if err := f.add(ctx, i); err != nil {
			return err
		}
	}
	answers := json.NewEncoder(os.Stdout)
	orders := bufio.NewScanner(os.Stdin)
	for orders.Scan() {
		var verb string
		var n, keys int
		if _, err := fmt.Sscan(orders.Text(), &verb, &n, &keys); err != nil {
			return fmt.Errorf("order %q: %w", orders.Text(), err)
		}
		var answer any
		var err error
		switch verb {
		case "ready":
			// The first writes wait for the peers to have met.
			_, err = f.visible(ctx, 10, keys)
			answer = true
		case "visible":
			answer, err = f.visible(ctx, n, keys)
		case "put":
			answer, err = f.put(ctx, n, keys)
		default:
			err = fmt.Errorf("order %q: want ready, visible or put", verb)
		}
		if err != nil {
			return err
		}
		if err := answers.Encode(answer); err != nil {
			return err
		}
	}
	return orders.Err()
}

// fleet is three peers; the last two are watched.
type fleet struct {
	clients []*memberlist.Client
	seed    string
	arrived []chan uint64 // stamps of values, in the order watchers saw them
	stamp   uint64
}

func (f *fleet) add(ctx context.Context, i int) error {
	var cfg memberlist.KVConfig
	flagext.DefaultValues(&cfg)
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	cfg.RegisterFlagsWithPrefix(flags, "")
	cfg.NodeName = fmt.Sprintf("n%d", i+1)
	cfg.GossipInterval = tick
	cfg.TCPTransport.BindAddrs = flagext.StringSlice{"127.0.0.1"}
	cfg.TCPTransport.BindPort = 0
	cfg.Codecs = []codec.Codec{registers{}}
	kv := memberlist.NewKV(cfg, log.NewNopLogger(), noDNS{}, prometheus.NewRegistry())
	if err := services.StartAndAwaitRunning(ctx, kv); err != nil {
		return err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", kv.GetListeningPort())
	if i == 0 {
		f.seed = addr
	} else if _, err := kv.JoinMembers([]string{f.seed}); err != nil {
		return err
	}
	c, err := memberlist.NewClient(kv, registers{})
	if err != nil {
		return err
	}
	f.clients = append(f.clients, c)
	if i > 0 {
		arrived := make(chan uint64, 1024)
		f.arrived = append(f.arrived, arrived)
		go c.WatchPrefix(ctx, "visible/", func(_ string, v any) bool {
			arrived <- v.(*register).Stamp
			return true
		})
	}
	return nil
}

func (f *fleet) write(ctx context.Context, prefix string, keys int) error {
	f.stamp++
	return f.clients[0].CAS(ctx, fmt.Sprintf("%s/%030d", prefix, f.stamp%uint64(keys)), func(any) (any, bool, error) {
		return &register{Stamp: f.stamp, Value: make([]byte, valueSize)}, true, nil
	})
}

func (f *fleet) visible(ctx context.Context, n, keys int) ([]time.Duration, error) {
	took := make([]time.Duration, 0, n)
	for range n {
		// Watchers hear of a value at a tick: without the pause each write would
		// begin just after one, and wait longest.
		time.Sleep(rand.N(tick))
		start := time.Now()
		if err := f.write(ctx, "visible", keys); err != nil {
			return nil, err
		}
		for _, c := range f.arrived {
			if err := await(c, f.stamp); err != nil {
				return nil, err
			}
		}
		took = append(took, time.Since(start))
	}
	return took, nil
}

func await(c chan uint64, stamp uint64) error {
	limit := time.After(30 * time.Second)
	for {
		select {
		case got := <-c:
			if got >= stamp {
				return nil
			}
		case <-limit:
			return fmt.Errorf("write %d did not arrive within 30 s", stamp)
		}
	}
}

func (f *fleet) put(ctx context.Context, n, keys int) (time.Duration, error) {
	start := time.Now()
	for range n {
		if err := f.write(ctx, "put", keys); err != nil {
			return 0, err
		}
	}
	return time.Since(start), nil
}

// noDNS stands in for a resolver: all addresses are literal.
type noDNS struct{}

func (noDNS) Resolve(context.Context, []string) error { return nil }
func (noDNS) Addresses() []string                     { return nil }

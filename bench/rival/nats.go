package rival

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// NATS is a JetStream key-value bucket in memory with three replicas. The three embedded
// servers form a cluster over loopback, and each has one client.
type NATS struct {
	servers []*server.Server
	conns   []*nats.Conn
	Streams []jetstream.JetStream // one at each server, the leader's first
	KV      []jetstream.KeyValue  // likewise
	dir     string
}

const bucket = "bench"

// Subject returns the subject to publish to for a put of key.
func Subject(key string) string { return "$KV." + bucket + "." + key }

// OpenNATS starts the cluster and creates the bucket.
func OpenNATS(ctx context.Context) (*NATS, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	n := &NATS{}
	if err := n.start(ctx); err != nil {
		n.Close()
		return nil, fmt.Errorf("nats: %w", err)
	}
	return n, nil
}

func (n *NATS) start(ctx context.Context) (err error) {
	if n.dir, err = os.MkdirTemp("", "bench-nats-"); err != nil {
		return err
	}
	ports, err := freePorts(3)
	if err != nil {
		return err
	}
	var routes []*url.URL
	for _, p := range ports {
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", p)})
	}
	for i, p := range ports {
		s, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprintf("s%d", i+1), Host: "127.0.0.1", Port: -1,
			Cluster: server.ClusterOpts{Name: bucket, Host: "127.0.0.1", Port: p}, Routes: routes,
			JetStream: true, StoreDir: fmt.Sprintf("%s/s%d", n.dir, i+1), NoLog: true, NoSigs: true,
		})
		if err != nil {
			return err
		}
		n.servers = append(n.servers, s)
		s.Start()
	}
	for _, s := range n.servers {
		if !s.ReadyForConnections(10 * time.Second) {
			return errors.New("a server does not accept clients")
		}
	}
	// The cluster refuses requests until it has elected its leaders.
	for {
		if err = n.connect(ctx); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// connect creates the bucket and connects a client to each server. The writer, the
// first, sits at the stream's leader, where NATS is fastest.
func (n *NATS) connect(ctx context.Context) error {
	n.disconnect()
	first, err := n.client(n.servers[0])
	if err != nil {
		return err
	}
	try, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err = first.CreateOrUpdateKeyValue(try, jetstream.KeyValueConfig{
		Bucket: bucket, Replicas: 3, Storage: jetstream.MemoryStorage,
	}); err != nil {
		return err
	}
	s, err := first.Stream(try, "KV_"+bucket)
	if err != nil {
		return err
	}
	leader := s.CachedInfo().Cluster.Leader
	n.disconnect()
	order := []*server.Server{nil}
	for _, s := range n.servers {
		if s.Name() == leader {
			order[0] = s
		} else {
			order = append(order, s)
		}
	}
	if order[0] == nil {
		return errors.New("the stream has no leader")
	}
	for _, s := range order {
		js, err := n.client(s)
		if err != nil {
			return err
		}
		kv, err := js.KeyValue(try, bucket)
		if err != nil {
			return err
		}
		n.Streams, n.KV = append(n.Streams, js), append(n.KV, kv)
	}
	return nil
}

func (n *NATS) client(s *server.Server) (jetstream.JetStream, error) {
	c, err := nats.Connect(s.ClientURL(), nats.NoReconnect())
	if err != nil {
		return nil, err
	}
	n.conns = append(n.conns, c)
	return jetstream.New(c, jetstream.WithPublishAsyncMaxPending(4096))
}

// Complete returns when the bucket holds want keys and no replica lags.
func (n *NATS) Complete(ctx context.Context, want uint64) error {
	for {
		s, err := n.Streams[0].Stream(ctx, "KV_"+bucket)
		if err != nil {
			return fmt.Errorf("nats: %w", err)
		}
		info := s.CachedInfo()
		behind := uint64(0)
		for _, r := range info.Cluster.Replicas {
			behind += r.Lag
		}
		if info.State.Msgs == want && behind == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("nats: %d of %d keys, replicas %d behind: %w", info.State.Msgs, want, behind, ctx.Err())
		case <-time.After(time.Millisecond):
		}
	}
}

func (n *NATS) disconnect() {
	for _, c := range n.conns {
		c.Close()
	}
	n.conns, n.Streams, n.KV = nil, nil, nil
}

// Close stops the cluster and removes its files.
func (n *NATS) Close() {
	n.disconnect()
	for _, s := range n.servers {
		s.Shutdown()
	}
	for _, s := range n.servers {
		s.WaitForShutdown()
	}
	os.RemoveAll(n.dir)
}

func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

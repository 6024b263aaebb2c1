package rival

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.etcd.io/etcd/server/v3/embed"
)

// Etcd is three embedded servers over loopback, with sessions of their clients. The servers
// do not wait for the disk, and so are faster than etcd with its guarantees.
type Etcd struct {
	servers  []*embed.Etcd
	clients  []*clientv3.Client
	sessions []*concurrency.Session
	dir      string
}

// OpenEtcd starts the servers, with this number of sessions spread over them.
func OpenEtcd(ctx context.Context, sessions int) (*Etcd, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	e := &Etcd{}
	if err := e.start(ctx, sessions); err != nil {
		e.Close()
		return nil, fmt.Errorf("etcd: %w", err)
	}
	return e, nil
}

func (e *Etcd) start(ctx context.Context, sessions int) (err error) {
	if e.dir, err = os.MkdirTemp("", "bench-etcd-"); err != nil {
		return err
	}
	ports, err := freePorts(6)
	if err != nil {
		return err
	}
	at := func(i int) url.URL { return url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", ports[i])} }
	var cluster []string
	for i := range 3 {
		peer := at(i)
		cluster = append(cluster, fmt.Sprintf("s%d=%s", i+1, peer.String()))
	}
	for i := range 3 {
		c := embed.NewConfig()
		c.Name, c.Dir = fmt.Sprintf("s%d", i+1), filepath.Join(e.dir, fmt.Sprintf("s%d", i+1))
		c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{at(i)}, []url.URL{at(i)}
		c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{at(3 + i)}, []url.URL{at(3 + i)}
		c.InitialCluster = strings.Join(cluster, ",")
		c.UnsafeNoFsync = true
		c.LogLevel, c.LogOutputs = "fatal", []string{"/dev/null"}
		s, err := embed.StartEtcd(c)
		if err != nil {
			return err
		}
		e.servers = append(e.servers, s)
	}
	for _, s := range e.servers {
		select {
		case <-s.Server.ReadyNotify():
		case <-ctx.Done():
			return errors.New("a server does not become ready")
		}
	}
	// The first client sits at the leader, where etcd is fastest.
	slices.SortStableFunc(e.servers, func(a, b *embed.Etcd) int { return cmp.Compare(rank(a), rank(b)) })
	for _, s := range e.servers {
		c, err := clientv3.New(clientv3.Config{Endpoints: []string{s.Config().AdvertiseClientUrls[0].String()}})
		if err != nil {
			return err
		}
		e.clients = append(e.clients, c)
	}
	for i := range sessions {
		s, err := concurrency.NewSession(e.clients[i%3])
		if err != nil {
			return err
		}
		e.sessions = append(e.sessions, s)
	}
	return nil
}

func rank(e *embed.Etcd) int {
	if e.Server.Leader() == e.Server.MemberID() {
		return 0
	}
	return 1
}

// Lock takes a lock in the queue of its name, for the i-th session.
func (e *Etcd) Lock(ctx context.Context, i int, name string) (unlock func(context.Context) error, err error) {
	m := concurrency.NewMutex(e.sessions[i], "/"+name)
	if err := m.Lock(ctx); err != nil {
		return nil, fmt.Errorf("etcd: %w", err)
	}
	return m.Unlock, nil
}

// Close ends the sessions and the servers and removes their files.
func (e *Etcd) Close() {
	for _, s := range e.sessions {
		s.Orphan()
	}
	for _, c := range e.clients {
		c.Close()
	}
	for _, s := range e.servers {
		s.Close()
	}
	os.RemoveAll(e.dir)
}

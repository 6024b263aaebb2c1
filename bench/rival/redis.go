package rival

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/go-redsync/redsync/v4"
	rsredis "github.com/go-redsync/redsync/v4/redis"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"
)

// Redis is redsync over redis-servers in memory, each in a process of its own.
type Redis struct {
	servers []*exec.Cmd
	clients []*redis.Client
	sync    *redsync.Redsync
}

// OpenRedis starts n servers; it needs redis-server in the PATH.
func OpenRedis(ctx context.Context, n int) (*Redis, error) {
	r := &Redis{}
	if err := r.start(ctx, n); err != nil {
		r.Close()
		return nil, fmt.Errorf("redis: %w", err)
	}
	return r, nil
}

func (r *Redis) start(ctx context.Context, n int) error {
	ports, err := freePorts(n)
	if err != nil {
		return err
	}
	var pools []rsredis.Pool
	for _, p := range ports {
		cmd := exec.Command("redis-server", "--bind", "127.0.0.1", "--port", fmt.Sprint(p),
			"--save", "", "--appendonly", "no", "--dir", os.TempDir())
		if err := cmd.Start(); err != nil {
			return err
		}
		r.servers = append(r.servers, cmd)
		c := redis.NewClient(&redis.Options{Addr: fmt.Sprintf("127.0.0.1:%d", p), PoolSize: 64})
		r.clients = append(r.clients, c)
		pools = append(pools, goredis.NewPool(c))
	}
	r.sync = redsync.New(pools...)
	for _, c := range r.clients {
		if err := await(ctx, func(ctx context.Context) error { return c.Ping(ctx).Err() }); err != nil {
			return err
		}
	}
	return nil
}

// await calls a function until it succeeds, for at most ten seconds.
func await(ctx context.Context, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Lock takes a lock for 10 s, as every rival here: it tries after pauses of 50 to
// 250 ms, as redsync does by itself, until ctx ends.
func (r *Redis) Lock(ctx context.Context, _ int, name string) (unlock func(context.Context) error, err error) {
	m := r.sync.NewMutex(name, redsync.WithExpiry(10*time.Second), redsync.WithTries(1<<30))
	if err := m.LockContext(ctx); err != nil {
		return nil, fmt.Errorf("redsync: %w", err)
	}
	return func(ctx context.Context) error {
		if ok, err := m.UnlockContext(ctx); err != nil || !ok {
			return fmt.Errorf("redsync: unlocked %t: %w", ok, err)
		}
		return nil
	}, nil
}

// Close ends the servers.
func (r *Redis) Close() {
	for _, c := range r.clients {
		c.Close()
	}
	for _, s := range r.servers {
		s.Process.Signal(os.Interrupt)
	}
	for _, s := range r.servers {
		var exit *exec.ExitError
		if err := s.Wait(); err != nil && !errors.As(err, &exit) {
			s.Process.Kill()
		}
	}
}

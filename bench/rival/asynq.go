package rival

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hibiken/asynq"
	"golang.org/x/sync/errgroup"
)

// Asynq is hibiken/asynq over one redis-server in memory.
type Asynq struct {
	redis  *Redis
	at     asynq.RedisClientOpt
	client *asynq.Client
}

const (
	taskType = "bench"

	// pollEvery is the interval at which an idle worker looks for tasks. The default of
	// asynq, 1 s, would hide every other delay.
	pollEvery = 10 * time.Millisecond
)

// OpenAsynq starts the server; it needs redis-server in the PATH.
func OpenAsynq(ctx context.Context) (*Asynq, error) {
	r, err := OpenRedis(ctx, 1)
	if err != nil {
		return nil, err
	}
	at := asynq.RedisClientOpt{Addr: r.clients[0].Options().Addr, PoolSize: 64}
	return &Asynq{redis: r, at: at, client: asynq.NewClient(at)}, nil
}

// Enqueue adds n tasks, which asynq takes one at a time, from 64 callers.
func (a *Asynq) Enqueue(ctx context.Context, payload []byte, n int) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(64)
	for range n {
		g.Go(func() error {
			_, err := a.client.EnqueueContext(ctx, asynq.NewTask(taskType, payload))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("asynq: %w", err)
	}
	return nil
}

// Work starts workers, spread over three servers, which call handle for each task.
func (a *Asynq) Work(workers int, handle func()) (stop func(), err error) {
	var servers []*asynq.Server
	stop = func() {
		for _, s := range servers {
			s.Shutdown()
		}
	}
	for i := range min(3, workers) {
		s := asynq.NewServer(a.at, asynq.Config{Concurrency: (workers + i) / min(3, workers), TaskCheckInterval: pollEvery, LogLevel: asynq.FatalLevel})
		if err := s.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error { handle(); return nil })); err != nil {
			stop()
			return nil, fmt.Errorf("asynq: %w", err)
		}
		servers = append(servers, s)
	}
	return stop, nil
}

// Empty returns an error unless every task was completed.
func (a *Asynq) Empty(ctx context.Context) error {
	i := asynq.NewInspector(a.at)
	defer i.Close()
	return await(ctx, func(context.Context) error {
		info, err := i.GetQueueInfo("default")
		switch {
		case errors.Is(err, asynq.ErrQueueNotFound):
			return nil
		case err == nil && info.Size > 0:
			return fmt.Errorf("asynq: %d tasks are left", info.Size)
		}
		return err
	})
}

// Close ends the server.
func (a *Asynq) Close() {
	a.client.Close()
	a.redis.Close()
}

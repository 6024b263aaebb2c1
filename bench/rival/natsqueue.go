package rival

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// NATSQueue is a JetStream work queue in memory. Each message goes to one worker, and is
// removed when the worker acknowledges it.
type NATSQueue struct {
	subject   string
	at        jetstream.JetStream // at the stream's leader
	stream    jetstream.Stream
	consumers []jetstream.Consumer // one at each server, the leader's first
}

// Message is an item that a worker has.
type Message = jetstream.Msg

// WorkQueue creates a queue with this number of replicas.
func (n *NATS) WorkQueue(ctx context.Context, name string, replicas int) (q *NATSQueue, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("nats: queue %s: %w", name, err)
		}
	}()
	q = &NATSQueue{subject: name}
	s, err := n.Streams[0].CreateStream(ctx, jetstream.StreamConfig{
		Name: name, Subjects: []string{name}, Retention: jetstream.WorkQueuePolicy, Storage: jetstream.MemoryStorage, Replicas: replicas,
	})
	if err != nil {
		return nil, err
	}
	consumer := jetstream.ConsumerConfig{Durable: "workers", AckPolicy: jetstream.AckExplicitPolicy, AckWait: 10 * time.Second, MaxAckPending: -1}
	if _, err := s.CreateConsumer(ctx, consumer); err != nil {
		return nil, err
	}
	leader := s.CachedInfo().Cluster.Leader
	order := slices.Clone(n.Streams)
	if i := slices.IndexFunc(n.conns, func(c *nats.Conn) bool { return c.ConnectedServerName() == leader }); i > 0 {
		order[0], order[i] = order[i], order[0]
	}
	q.at = order[0]
	for _, js := range order {
		at, err := js.Stream(ctx, name)
		if err != nil {
			return nil, err
		}
		c, err := at.Consumer(ctx, consumer.Durable)
		if err != nil {
			return nil, err
		}
		q.consumers = append(q.consumers, c)
		if q.stream == nil {
			q.stream = at
		}
	}
	return q, nil
}

// Enqueue adds n messages and waits until the stream has acknowledged all.
func (q *NATSQueue) Enqueue(ctx context.Context, payload []byte, n int) error {
	acks := make([]jetstream.PubAckFuture, n)
	for i := range acks {
		var err error
		if acks[i], err = q.at.PublishAsync(q.subject, payload, jetstream.WithStallWait(10*time.Second)); err != nil {
			return fmt.Errorf("nats: %w", err)
		}
	}
	for _, a := range acks {
		select {
		case <-a.Ok():
		case err := <-a.Err():
			return fmt.Errorf("nats: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Claim returns up to n messages for the i-th worker, or none if none arrives for some
// time.
func (q *NATSQueue) Claim(ctx context.Context, i, n int) (list []Message, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	batch, err := q.consumers[i%len(q.consumers)].Fetch(n, jetstream.FetchContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	for m := range batch.Messages() {
		list = append(list, m)
	}
	if err := batch.Error(); err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) && !errors.Is(err, nats.ErrTimeout) {
		return list, fmt.Errorf("nats: %w", err)
	}
	return list, nil
}

// Empty returns an error unless every message was acknowledged.
func (q *NATSQueue) Empty(ctx context.Context) error {
	return await(ctx, func(ctx context.Context) error {
		info, err := q.stream.Info(ctx)
		if err == nil && info.State.Msgs > 0 {
			err = fmt.Errorf("nats: %d messages are left", info.State.Msgs)
		}
		return err
	})
}

package main

import (
	"context"
	"errors"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
)

// watchers are the curves of subscriptions: of those that a write reaches, and of those beside one.
var watchers = []curve{
	{"write that all subscribers hear, of each", "subscribers", steps(10, 10_000), 0.8, alone(nothing, func(ctx context.Context, a *agent.Agent, n int) (time.Duration, error) {
		var subs []*agent.Subscription
		for range n {
			sub, err := a.Watch(ctx, "growth/**")
			if err != nil {
				return 0, err
			}
			subs = append(subs, sub)
		}
		took, err := each(max(20*repeats/n, 50), func(i int) error {
			if err := a.Put(ctx, key(i%100), value); err != nil {
				return err
			}
			for _, sub := range subs {
				if _, open := <-sub.C(); !open {
					return errors.New("a subscription ended")
				}
			}
			return nil
		})
		return max(took/time.Duration(n), 1), err
	})},
	{"subscription that begins and ends beside others", "subscribers", steps(10, 10_000), 0.3, alone(subscribe, func(ctx context.Context, a *agent.Agent, _ int) (time.Duration, error) {
		return each(repeats, func(int) error {
			ctx, leave := context.WithCancel(ctx)
			defer leave()
			_, err := a.Watch(ctx, "growth/**")
			return err
		})
	})},
}

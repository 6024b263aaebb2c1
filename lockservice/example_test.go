package lockservice_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sentinel-peer/sentinel-peer/lockservice"
	"github.com/sentinel-peer/sentinel-peer/lockservice/fence"
)

// The session of this example is the only voter. If there are other peers, Send must put
// packets on the urgent class of a peer's stream, and Receive takes the packets that arrive.
func open() *lockservice.Session {
	s, err := lockservice.Open(lockservice.SessionConfig{
		Node: lockservice.Config{
			Self:      "alone",
			Voters:    lockservice.Voters{Names: []string{"alone"}},
			FirstBoot: true, // no earlier process of this voter granted anything
		},
		Send: func(peer string, packet []byte) {},
	})
	if err != nil {
		panic(err)
	}
	return s
}

func ExampleSession() {
	s := open()
	defer s.Close(context.Background())
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()

	lease, err := s.Lock(ctx, "reports/daily", lockservice.WithTTL(2*time.Second))
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = s.TryLock(ctx, "reports/daily")
	fmt.Println("a second holder:", errors.Is(err, lockservice.ErrHeld))

	// The holder works under lease.Context() and passes the token with every write.
	var disk fence.Memory
	fmt.Println("the write:", disk.Check(lease.Context(), "reports/daily", lease.Token()))
	fmt.Println("unlock:", lease.Unlock(ctx))
	fmt.Println("over:", lease.Context().Err())

	next, err := s.Lock(ctx, "reports/daily")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("the token rose:", next.Token() > lease.Token())
	_ = next.Unlock(ctx) // otherwise Close waits for the lease
	// Output:
	// a second holder: true
	// the write: <nil>
	// unlock: <nil>
	// over: context canceled
	// the token rose: true
}

func ExampleSession_LockAll() {
	s := open()
	defer s.Close(context.Background())
	both, err := s.LockAll(context.Background(), []string{"to", "from"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, l := range both.Leases() {
		fmt.Println(l.Name())
	}
	fmt.Println(both.Unlock(context.Background()))
	// Output:
	// from
	// to
	// <nil>
}

func ExampleSession_Campaign() {
	s := open()
	defer s.Close(context.Background())
	err := s.Campaign(context.Background(), "scheduler", func(ctx context.Context, token uint64) error {
		fmt.Println("leading, with a token:", token > 0)
		return nil // resign
	})
	fmt.Println(err)
	// Output:
	// leading, with a token: true
	// <nil>
}

package transport_test

import (
	"context"
	"fmt"

	"github.com/sentinel-peer/sentinel-peer/gossip/transport"
)

func ExampleOpen() {
	ctx := context.Background()
	arrived := make(chan string, 2) // an Inbox only enqueues
	met := make(chan struct{}, 8)

	open := func(id string, seeds ...string) *transport.Memberlist {
		t, err := transport.Open(ctx, transport.Config{
			Cluster: "lab", ID: id, Bind: "127.0.0.1:0", Seeds: seeds,
			Inbox: func(frame []byte, via transport.Path) { arrived <- fmt.Sprintf("%s by %v", frame, via) },
			OnMembers: func(all []transport.Member) {
				if id == "alice" && len(all) == 2 {
					met <- struct{}{}
				}
			},
		})
		if err != nil {
			panic(err)
		}
		return t
	}
	alice := open("alice")
	defer alice.Close()
	bob := open("bob", alice.LocalAddr())
	defer bob.Close()

	<-met
	fmt.Println(alice.SendPacket("bob", []byte("hello")), <-arrived)
	fmt.Println(alice.SendStream("bob", []byte("a longer story"), false), <-arrived)
	// Output:
	// <nil> hello by packet
	// <nil> a longer story by stream
}

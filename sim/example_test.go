package sim_test

import (
	"fmt"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/sim"
)

// A program brings its own resolver and worker. The network splits, and both sides write a
// note. The resolver joins the two notes when they are read, and a worker on peer 3 counts
// the remote changes.
func ExampleCluster() {
	join := func(siblings []crdt.Sibling) (crdt.Value, error) {
		all := ""
		for _, s := range siblings {
			var text string
			if err := s.Value.Decode(&text); err != nil {
				return crdt.Value{}, err
			}
			all += text
		}
		return crdt.ValueOf(all)
	}
	c, err := sim.New(sim.Config{Seed: 1, Peers: 3, Rules: []crdt.Rule{{Pattern: "notes/*", Kind: crdt.Custom, Resolver: "join"}}})
	if err != nil {
		panic(err)
	}
	worker := c.Peer(3)
	worker.OnChange = func(ch crdt.Change) {
		if !ch.Local {
			_ = worker.Write(crdt.Op{Verb: crdt.Increment, Key: "heard", Delta: 1})
		}
	}
	for _, step := range []string{"cut 1 | 2,3", "1 sibling notes/today tea", "2 sibling notes/today time", "run 1s", "heal"} {
		if err := c.Do(step); err != nil {
			panic(err)
		}
	}
	c.Settle()
	c.Run(time.Second)

	entry, _ := c.Peer(1).Get("notes/today")
	value, err := crdt.ResolveSiblings(join, entry.Siblings())
	fmt.Println(value, err)
	heard, _ := c.Peer(1).Get("heard")
	fmt.Println(heard.Value(), c.Violations())
	// Output:
	// "teatime" <nil>
	// 2 []
}

package sim

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// A flood of writes into small stores ends in refusals on every peer, and all peers agree.
func TestAFloodIntoSmallStoresIsRefusedAndPeersAgree(t *testing.T) {
	const limit = 32 << 10
	c, err := New(Config{Seed: 1, Peers: 3, Memory: limit, Loss: 0.2})
	if err != nil {
		t.Fatal(err)
	}
	text, err := crdt.ValueOf(strings.Repeat("x", 200))
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for i := range 200 {
		for n := 1; n <= 3; n++ {
			var full *crdt.FullError
			err := c.Peer(n).Write(crdt.Op{Verb: crdt.Put, Key: fmt.Sprint("reg/", n, "-", i), Value: text})
			if errors.As(err, &full) {
				refused++
			} else if err != nil {
				t.Fatal(err)
			}
		}
		c.Run(time.Millisecond)
	}
	c.Settle()
	if refused == 0 {
		t.Error("nothing was refused")
	}
	for n := 1; n <= 3; n++ { // at most three writers fill their stores before they hear of each other
		if used := c.Peer(n).r.Store().Memory(); used < limit || used > 3*limit {
			t.Errorf("peer %d holds %d bytes, with a limit of %d", n, used, limit)
		}
	}
	for _, v := range c.Violations() {
		t.Error(v)
	}
}
